// What a script can tell from the exit code of a command; printed by --help. What works on a data directory itself (`run`, `log`, `restore`)
// ends with the codes of errors.ts besides.

export const cliExitCodes = {
  ok: 0,
  /** The node answered, and it was a refusal: nothing was changed. */
  refused: 1,
  usage: 2,
  unknownOutcome: 3,
  keyNotFound: 4,
  unreachable: 5,
  appliesLater: 6,
  conditionFailed: 7,
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
  6   committed, but not applied here yet (it will be), or applied and its result is no longer known
  7   --if-match or --if-none-match did not hold; nothing was changed
  65  the data directory, or the backup, is damaged or belongs elsewhere
  74  a file cannot be read or written
  75  another process holds the data directory
  78  a setting is wrong (run: also 69 and 70, as in sysexits.h)`
