// What a script can tell from the exit code of a command; printed by --help. `run` ends with the codes of errors.ts instead.

export const cliExitCodes = {
  ok: 0,
  /** The node answered, and it was a refusal: nothing was changed. */
  refused: 1,
  usage: 2,
  unknownOutcome: 3,
  keyNotFound: 4,
  unreachable: 5,
  appliesLater: 6,
} as const

export type CliExitCode = (typeof cliExitCodes)[keyof typeof cliExitCodes]

export const exitCodeHelp = `
Exit codes:
  0   done
  1   the sidecar refused; nothing was changed, try again when the message allows
  2   the command line is wrong
  3   unknown outcome: the command may yet be committed
  4   the key does not exist
  5   the sidecar cannot be reached
  6   committed, but not applied yet; it will be
  78  a setting is wrong (run: also 65, 69, 70, 74, 75 as in sysexits.h)`
