// The command line: argv in, one call of the local API or one look into a file, exit code out. What only a few commands need is loaded by them.

import { Command, CommanderError, Option } from 'commander'
import { downloadBackup, takeSnapshot } from './backup.ts'
import {
  type ConditionOptions,
  deleteKey,
  getKey,
  listKeys,
  type ProposeOptions,
  propose,
  type ReadOptions,
  setKey,
  showLeader,
  showMembers,
  showStatus,
  skip,
  type TimeoutOption,
  transfer,
  watch,
} from './commands.ts'
import { type CliEnvironment, terminalEnvironment } from './environment.ts'
import { cliExitCodes, exitCodeHelp } from './exit-codes.ts'
import { CliFailure } from './failure.ts'
import { parseAfter, parseApi, parseCommand, parseIndex, parseKey, parseTimeoutMs, readBytes } from './input.ts'
import type { DumpOptions } from './log.ts'
import {
  type CommonOptions,
  callSidecar,
  type OutputOptions,
  printFailure,
  runHere,
  streamFromSidecar,
} from './sidecar-call.ts'

const jsonHelp = 'print the answer (each one), or on standard error what went wrong, as one line of JSON'

type ProposalOptions = CommonOptions & ProposeOptions & { readonly bytesFile?: string }

type SnapshotOptions = CommonOptions & { readonly force?: boolean }

type WatchOptions = CommonOptions & { readonly after?: number }

/** `argv` as in process.argv; `run` of the environment is what starts a sidecar. Resolves with the exit code; never rejects. */
export async function runCommandLine(
  argv: readonly string[],
  environment: CliEnvironment = terminalEnvironment(),
): Promise<number> {
  let exitCode: number = cliExitCodes.ok
  const program = createProgram(environment, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(argv)
    return exitCode
  } catch (error) {
    // Commander has printed its complaint, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? cliExitCodes.ok : cliExitCodes.usage
    return printFailure(environment, {}, error, null)
  }
}

/** `done` is told the exit code of each command that ran. */
export function createProgram(environment: CliEnvironment, done: (exitCode: number) => void): Command {
  const program = new Command('raft-sidecar')
    .description('A Raft node in a small process beside each instance of an application.')
    .version(environment.version())
    .configureOutput({ writeOut: (text) => environment.stdout(text), writeErr: (text) => environment.stderr(text) })
    .addHelpText('after', exitCodeHelp)
    .exitOverride()

  /** A command that calls the sidecar; subcommands take over the settings made above. */
  const command = (usage: string, description: string) =>
    program
      .command(usage)
      .description(description)
      .option('--json', jsonHelp)
      .option(
        '--api <url>',
        'where the sidecar is: http://host:port or unix:/path (default: API_LISTEN, else http://127.0.0.1:4001)',
        parseApi,
      )
      .option('--token-file <path>', 'a file that holds the token (default: API_TOKEN)')
  const timed = (usage: string, description: string, byDefault = '5s') =>
    command(usage, description).option(
      '--timeout <duration>',
      `how long to wait, 100ms to 60s (default: ${byDefault})`,
      parseTimeoutMs,
    )
  const conditional = (usage: string, description: string) =>
    timed(usage, description).option(
      '--if-match <index>',
      'only while the modifiedIndex of the key is this one, else exit code 7',
      parseIndex,
    )

  program
    .command('run')
    .description('run a sidecar, set up by the environment and .env')
    .action(() => environment.run())

  command('status', 'show who leads, where the log stands, the members, and what is wrong').action(
    async (options: CommonOptions) => done(await callSidecar(environment, options, showStatus)),
  )

  command('leader', 'show who leads').action(async (options: CommonOptions) =>
    done(await callSidecar(environment, options, showLeader)),
  )

  timed('transfer', 'hand leadership to a voter, and wait until it leads', '10s')
    .argument('[id]', 'the voter; without it, the one that is furthest')
    .action(async (id: string | undefined, options: CommonOptions & TimeoutOption) =>
      done(await callSidecar(environment, options, (client) => transfer(client, id ?? null, options))),
    )

  command('members', 'show the members, as this node sees them').action(async (options: CommonOptions) =>
    done(await callSidecar(environment, options, showMembers)),
  )

  timed('propose', 'propose one command, and wait until it is applied here')
    .argument('[json]', 'the command, any JSON value')
    .option('--bytes-file <path>', 'propose what this file holds as opaque bytes; - is standard input')
    .option(
      '--key <key>',
      'idempotency key: however often the same command is proposed under it, it takes effect once (default: a new one)',
      parseKey,
    )
    .addOption(new Option('--wait <until>', 'when to answer').choices(['applied', 'committed']).default('applied'))
    .action(async (json: string | undefined, options: ProposalOptions) =>
      done(
        await callSidecar(environment, options, async (client) =>
          propose(client, await commandOf(json, options, environment), options),
        ),
      ),
    )

  command('watch', 'print committed commands as they come, one on a line, until it is interrupted')
    .option('--after <index>', 'begin behind this entry, 0 is the first one (default: from now on)', parseAfter)
    .action(async (options: WatchOptions) =>
      done(await streamFromSidecar(environment, options, (client) => watch(client, options.after ?? null))),
    )

  timed('skip', 'leave a command out on every node, which the application of this one refuses for good')
    .argument('<index>', 'of the command, as status names it', parseIndex)
    .action(async (index: number, options: CommonOptions & TimeoutOption) =>
      done(await callSidecar(environment, options, (client) => skip(client, index, options))),
    )

  timed('get', 'print the value of a key, as JSON')
    .argument('<key>')
    .option('--local', 'take what this node holds, which may be older than what was committed elsewhere')
    .action(async (key: string, options: CommonOptions & ReadOptions) =>
      done(await callSidecar(environment, options, (client) => getKey(client, key, options))),
    )

  timed('list', 'print keys with their values, one on a line, in the order of the keys')
    .argument('[prefix]', 'only keys that begin with this')
    .option('--local', 'take what this node holds, which may be older than what was committed elsewhere')
    .action(async (prefix: string | undefined, options: CommonOptions & ReadOptions) =>
      done(await streamFromSidecar(environment, options, (client) => listKeys(client, prefix, options))),
    )

  conditional('set', 'set a key')
    .option('--if-none-match', 'only while there is no such key, else exit code 7')
    .argument('<key>')
    .argument(
      '<value>',
      'JSON; what is not JSON is taken as a string, so that 5 is a number and five and \'"5"\' are strings',
    )
    .action(async (key: string, value: string, options: CommonOptions & ConditionOptions) =>
      done(await callSidecar(environment, options, (client) => setKey(client, key, value, options))),
    )

  conditional('delete', 'delete a key; exit code 4 when there was none')
    .argument('<key>')
    .action(async (key: string, options: CommonOptions & ConditionOptions) =>
      done(await callSidecar(environment, options, (client) => deleteKey(client, key, options))),
    )

  command('snapshot', 'take a snapshot on the node, or download one as a backup')
    .argument('[file]', 'where to keep the backup; every checksum in it is verified before it is there')
    .option('--force', 'replace the file if it exists')
    .action(async (file: string | undefined, options: SnapshotOptions) =>
      done(
        await callSidecar(environment, options, (client) => {
          if (file !== undefined) return downloadBackup(client, file, options.force === true)
          if (options.force !== true) return takeSnapshot(client)
          throw new CliFailure(cliExitCodes.usage, 'usage', '--force is for a FILE: name one')
        }),
      ),
    )

  program
    .command('restore')
    .description(
      'make a data directory from a backup, for a node of a new cluster, by the settings of run (NODE_ID, CLUSTER, MEMBERS, DATA_DIR)',
    )
    .argument('<file>', 'a backup, as snapshot FILE downloads it; the same one on every node, with the same MEMBERS')
    .option('--json', jsonHelp)
    .action(async (file: string, options: OutputOptions) =>
      done(
        await runHere(environment, options, async () => {
          const { restore } = await import('./restore.ts')
          return restore(environment, file, options)
        }),
      ),
    )

  const log = program
    .command('log')
    .description('look into a data directory, offline and without changing anything in it')

  log
    .command('verify')
    .description('say what it holds, and whether the next start takes it; exit code 65 when it refuses')
    .argument('<data-dir>')
    .option('--json', jsonHelp)
    .action(async (directory: string, options: OutputOptions) =>
      done(
        await runHere(environment, options, async () => {
          const { verifyLog } = await import('./log.ts')
          return verifyLog(environment, directory, options)
        }),
      ),
    )

  log
    .command('dump')
    .description('the same, and then the entries of the log, one on a line')
    .argument('<data-dir>')
    .option('--from <index>', 'the first entry', parseIndex)
    .option('--through <index>', 'the last entry', parseIndex)
    .option('--json', 'print the report, and then each entry, as one line of JSON')
    .action(async (directory: string, options: DumpOptions) =>
      done(
        await runHere(environment, options, async () => {
          const { dumpLog } = await import('./log.ts')
          return dumpLog(environment, directory, options)
        }),
      ),
    )

  return program
}

async function commandOf(
  json: string | undefined,
  { bytesFile }: ProposalOptions,
  { stdin }: CliEnvironment,
): Promise<unknown> {
  if (json !== undefined && bytesFile === undefined) return parseCommand(json)
  if (json === undefined && bytesFile !== undefined) return await readBytes(bytesFile, stdin)
  throw new CliFailure(cliExitCodes.usage, 'usage', 'Give the command either as JSON or by --bytes-file')
}
