import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Finding } from '../../scripts/conformance/check.ts'
import { allChecks } from '../../scripts/conformance/checks.ts'
import { main } from '../../scripts/conformance/main.ts'
import { type Answer, type DeliveredBatch, type DeliveredCommand, ExampleApp, send } from './example-app.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const secret = `whsec_${Buffer.from('of the conformance test').toString('base64')}`

interface Run {
  readonly exitCode: number
  readonly findings: readonly Finding[]
  readonly complaint: string
}

async function examine(t: TestContext, apps: readonly ExampleApp[], ...options: readonly string[]): Promise<Run> {
  const urls = await Promise.all(apps.map((app) => app.listen()))
  t.after(() => Promise.all(apps.map((app) => app.close())))
  const [url = '', peerUrl] = urls
  const peer = peerUrl === undefined ? [] : ['--peer', peerUrl]
  const signed = apps[0]?.secret === null ? [] : ['--secret', secret]
  return await run([url, ...peer, ...signed, '--json', ...options])
}

async function run(argv: readonly string[]): Promise<Run> {
  const said: string[] = []
  const complaints: string[] = []
  const output = { say: (line: string) => said.push(line), complain: (line: string) => complaints.push(line) }
  const exitCode = await main(argv, output)
  const { findings = [] } = said.length === 0 ? {} : JSON.parse(said.join('\n'))
  return { exitCode, findings, complaint: complaints.join('\n') }
}

function sentences(findings: readonly Finding[], status: Finding['status']): Record<string, string> {
  const chosen = findings.filter((finding) => finding.status === status)
  return Object.fromEntries(chosen.map(({ check, sentence }) => [check, sentence]))
}

/** Each is wrong in one place, and fails one check. */
const wrong: Readonly<Record<string, readonly [check: string, sentence: RegExp, apps: () => readonly ExampleApp[]]>> = {
  'answers fewer results than there are commands': [
    'apply',
    /^The application answered 200 .* which does not fit: it holds 2 results for 3 commands$/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          const { status, body } = super.apply(batch)
          const { results } = body as { results: unknown[] }
          return { status, body: { results: results.slice(1) } }
        }
      })(),
    ],
  ],
  'tells a position that is not the index of the last command where indexes are left out': [
    'position',
    /^After a batch that ended with 8 it says that it is at 7, and not at 8: the position is the index of the last command that is applied/,
    () => [
      new (class extends ExampleApp {
        #hole = false
        override apply(batch: DeliveredBatch | null): Answer {
          const before = this.position
          const answer = super.apply(batch)
          this.#hole = this.position > before + (batch?.commands.length ?? 0)
          return answer
        }
        override tellPosition(): Answer {
          return { status: 200, body: { position: this.position - (this.#hole ? 1 : 0) } }
        }
      })(),
    ],
  ],
  'refuses a command that has a key': [
    'attributes',
    /^The application answered 400, which is no answer of the contract/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          return batch?.commands.some((command) => 'key' in command) ? { status: 400 } : super.apply(batch)
        }
      })(),
    ],
  ],
  'refuses fields that it does not know': [
    'unknown-fields',
    /^The application answered 400/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          return batch?.commands.some((command) => 'added' in command) ? { status: 400 } : super.apply(batch)
        }
      })(),
    ],
  ],
  'has no answer to bytes': [
    'bytes',
    /^Of opaque bytes it does not take .* delivery would never get past it: The application answered 500 .* Answer it with a result that says so, or with 422/,
    () => [
      new (class extends ExampleApp {
        override decide(command: DeliveredCommand): unknown {
          if (command.bytes !== undefined) throw new Error('what is this?')
          return super.decide(command)
        }
        override take(command: DeliveredCommand): unknown {
          if (command.index <= this.position) return null
          const result = this.decide(command)
          this.position = command.index
          return result
        }
      })(),
    ],
  ],
  'parses JSON by a parser that fears certain names': [
    'any-json',
    /^Of commands of a strange shape it does not take .*__proto__.*: The application answered 400/,
    () => [
      new (class extends ExampleApp {
        override answer(hook: string, body: Buffer, raftPosition: number): Answer {
          return body.includes('__proto__') ? { status: 400 } : super.answer(hook, body, raftPosition)
        }
      })(),
    ],
  ],
  'takes no body above 1 MiB': [
    'large-batch',
    /^The application answered 413, so it is too large for it: raise its limit/,
    () => [
      new (class extends ExampleApp {
        override answer(hook: string, body: Buffer, raftPosition: number): Answer {
          return body.length > 1024 * 1024 ? { status: 413 } : super.answer(hook, body, raftPosition)
        }
      })(),
    ],
  ],
  'gives a snapshot that does not say where it stands': [
    'snapshot',
    /^The application answered 200 without raft-position when asked for a snapshot: 200 with the header raft-position: N/,
    () => [
      new (class extends ExampleApp {
        #given = 0
        override async sendSnapshot(response: ServerResponse): Promise<void> {
          // Others look at its snapshots, too: wrong where the check for snapshots looks.
          if (++this.#given > 1) await super.sendSnapshot(response)
          else send(response, { status: 200, body: this.state })
        }
      })(),
    ],
  ],
  'gives a snapshot that stands elsewhere than it says': [
    'snapshot',
    /^Its snapshot has raft-position 0, and the last command in the state is \d+: take the state and its position in one transaction$/,
    () => [
      new (class extends ExampleApp {
        #given = 0
        override async sendSnapshot(response: ServerResponse): Promise<void> {
          if (++this.#given > 1) await super.sendSnapshot(response)
          else send(response, { status: 200, headers: { 'raft-position': '0' }, body: this.state })
        }
      })(),
    ],
  ],
  'keeps its own state when an older one is restored': [
    'restore',
    /^After it was restored to \d+ its snapshot is another one .* restore all of the state, and nothing beside it$/,
    () => [
      new (class extends ExampleApp {
        override restore(body: Buffer, raftPosition: number): void {
          if (raftPosition > this.position) super.restore(body, raftPosition)
          this.position = raftPosition
        }
      })(),
    ],
  ],
  'answers by a counter that is not part of its state': [
    'restore',
    /^Restored to \d+, command \d+ is answered .* and it was .* the first time: a command may depend on the state and on what stands in the command alone/,
    () => [
      new (class extends ExampleApp {
        #answered = 0
        override decide(command: DeliveredCommand): unknown {
          super.decide(command)
          return ++this.#answered
        }
      })(),
    ],
  ],
  'does not go ahead to a newer snapshot': [
    'restore-newer',
    /^At \d+ it was restored to \d+, and then it says that it is at \d+, and not at \d+/,
    () => [
      new (class extends ExampleApp {
        override restore(body: Buffer, raftPosition: number): void {
          if (raftPosition <= this.position) super.restore(body, raftPosition)
        }
      })(),
    ],
  ],
  'restores as soon as it can read what has come so far': [
    'restore-broken-off',
    /^It got a snapshot of \d+ bytes without the end of the request, then the connection ended, and its position went from \d+ to \d+/,
    () => [
      new (class extends ExampleApp {
        override async receive(request: IncomingMessage): Promise<Buffer> {
          const chunks: Buffer[] = []
          for await (const chunk of request) {
            chunks.push(chunk)
            if (request.method !== 'PUT') continue
            try {
              this.restore(Buffer.concat(chunks), Number(request.headers['raft-position']))
            } catch {
              // Not all of it has come yet.
            }
          }
          return Buffer.concat(chunks)
        }
      })(),
    ],
  ],
  'reads its state while the snapshot is being sent': [
    'snapshot-moment',
    /^Commands \d+ to \d+ were applied while the snapshot at \d+ was read, and it is another one than the one taken just before: fix the state before/,
    () => [
      new (class extends ExampleApp {
        override async sendSnapshot(response: ServerResponse): Promise<void> {
          const { position } = this
          response.writeHead(200, { 'raft-position': String(position) }).flushHeaders()
          // Turns of the loop that asks, too: what it sends when it has the headers comes within them, if it sends something.
          for (let turn = 0; turn < 200 && this.position === position; turn++) await nextTurn()
          response.end(JSON.stringify(this.state))
        }
      })(),
    ],
  ],
  'answers by the size of the batch': [
    'portions',
    /^Alone, and before with others in one batch, command \d+ is answered .*"of":1.* and it was .*"of":6.* the first time/,
    () => [
      new (class extends ExampleApp {
        override take(command: DeliveredCommand, batch: DeliveredBatch): unknown {
          return { result: super.take(command, batch), of: batch.commands.length }
        }
      })(),
    ],
  ],
  'answers by its own name': [
    'determinism',
    /^The first instance answered "n1" to command 1, and the second one "n2": take the time from the "timestamp"/,
    () =>
      ['n1', 'n2'].map(
        (name) =>
          new (class extends ExampleApp {
            override decide(command: DeliveredCommand): unknown {
              super.decide(command)
              return name
            }
          })(),
      ),
  ],
  'applies a batch of three again': [
    'repeat',
    /^The batch \d+ to \d+, which it held, came again: it answered success, but its snapshot changed, though its position is \d+ as before: answer 409 {"position":\d+}, or 200 without applying them again$/,
    () => [
      new (class extends ExampleApp {
        override take(command: DeliveredCommand, batch: DeliveredBatch): unknown {
          if (command.index > this.position || batch.commands.length !== 3) return super.take(command, batch)
          return this.decide(command)
        }
      })(),
    ],
  ],
  'applies a batch whole when something in it is new': [
    'rewind',
    /^Commands \d+ to \d+ came while it was at \d+: its state is another one than when each command comes once\. Hold every command's index/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          const last = batch?.commands.at(-1)?.index ?? 0
          if (batch !== null && last > this.position && batch.after < this.position) this.position = batch.after
          return super.apply(batch)
        }
      })(),
    ],
  ],
  'goes back to where a batch from before stands': [
    'rewind',
    /^Commands \d+ to \d+, which it held, came again: it answered success, but its position went from \d+ to \d+/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          const answer = super.apply(batch)
          if (answer.status === 200) this.position = batch?.commands.at(-1)?.index ?? 0
          return answer
        }
      })(),
    ],
  ],
  'takes a batch though commands are missing before it': [
    'gap',
    /^Commands (\d+) to \d+ came after \d+, while it was at (\d+): it took them, and \d+ to \d+ are lost to it\. Instead, answer 409 {"position":\2}/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          return super.apply(batch === null ? null : { ...batch, after: 0 })
        }
      })(),
    ],
  ],
  'applies the first command of a batch before it looks at the second': [
    'malformed',
    /^It answered 500 to a batch whose second command has no index, but its position went from \d+ to \d+: apply the whole batch or nothing$/,
    () => [
      new (class extends ExampleApp {
        override answer(hook: string, body: Buffer, raftPosition: number): Answer {
          if (hook !== 'POST /raft/apply') return super.answer(hook, body, raftPosition)
          const batch = JSON.parse(body.toString()) as DeliveredBatch
          if (!Number.isInteger(batch.after) || !Array.isArray(batch.commands)) return { status: 400 }
          return this.apply(batch)
        }
        override take(command: DeliveredCommand, batch: DeliveredBatch): unknown {
          if (!Number.isInteger(command.index)) throw new Error('no index')
          return super.take(command, batch)
        }
      })(),
    ],
  ],
  'calls what is no batch a success': [
    'malformed',
    /^It answered 200 to a body that is empty, "": 400 would do, and nothing applied$/,
    () => [
      new (class extends ExampleApp {
        override apply(batch: DeliveredBatch | null): Answer {
          return batch === null ? { status: 200 } : super.apply(batch)
        }
      })(),
    ],
  ],
  'serves one request at a time, from its first byte on': [
    'slow-body',
    /^While one request was still on its way it did not answer another: GET .* got no whole answer: nothing for 3000 ms\. .* serve several at once$/,
    () => [
      new (class extends ExampleApp {
        #turn: Promise<unknown> = Promise.resolve()
        override async receive(request: IncomingMessage): Promise<Buffer> {
          const received = this.#turn.then(() => super.receive(request))
          this.#turn = received.catch(() => {})
          return await received
        }
      })(),
    ],
  ],
  'counts a batch as applied when its first byte is there': [
    'slow-body',
    /^With half of the batch \d+ to \d+ sent it says that it is at \d+, and was at \d+: apply when the whole request is there$/,
    () => [
      new (class extends ExampleApp {
        #begun = 0
        override async receive(request: IncomingMessage): Promise<Buffer> {
          const isApply = request.url === '/raft/apply'
          if (isApply) this.#begun++
          try {
            return await super.receive(request)
          } finally {
            if (isApply) this.#begun--
          }
        }
        override tellPosition(): Answer {
          return { status: 200, body: { position: this.position + this.#begun } }
        }
      })(),
    ],
  ],
  'applies what has come of a batch that breaks off': [
    'cut-request',
    /^Of the batch \d+ to \d+ the last 40 bytes never came, but its position went from \d+ to \d+: apply when the whole request is there$/,
    () => [
      new (class extends ExampleApp {
        override async receive(request: IncomingMessage): Promise<Buffer> {
          const chunks: Buffer[] = []
          try {
            for await (const chunk of request) chunks.push(chunk)
          } catch (error) {
            const text = Buffer.concat(chunks).toString()
            const whole = text.slice(0, text.lastIndexOf(',{"index"'))
            if (request.url === '/raft/apply') this.apply(JSON.parse(`${whole}]}`))
            throw error
          }
          return Buffer.concat(chunks)
        }
      })(),
    ],
  ],
  'acknowledges first and applies later': [
    'lost-answer',
    /^The batch \d+ to \d+ came again after its answer was lost: its state is another one than when each command comes once/,
    () => [
      new (class extends ExampleApp {
        #acknowledged: DeliveredBatch[] = []
        override answer(hook: string, body: Buffer, raftPosition: number): Answer {
          if (hook !== 'POST /raft/apply') this.#catchUp()
          return super.answer(hook, body, raftPosition)
        }
        override apply(batch: DeliveredBatch | null): Answer {
          if (batch?.after !== this.#acknowledged[0]?.after) this.#catchUp()
          if (batch === null || batch.after !== this.position) return super.apply(batch)
          this.#acknowledged.push(batch)
          return { status: 204 }
        }
        override async sendSnapshot(response: ServerResponse): Promise<void> {
          this.#catchUp()
          await super.sendSnapshot(response)
        }
        #catchUp(): void {
          for (const { commands } of this.#acknowledged.splice(0)) {
            for (const command of commands) this.decide(command)
            this.position = commands.at(-1)?.index ?? 0
          }
        }
      })(),
    ],
  ],
  'does not look at the time of a signature': [
    'signature',
    /^A batch that is signed 600 s ago was answered 200: 401 would do$/,
    () => [
      new (class extends ExampleApp {
        override isRecent(): boolean {
          return true
        }
      })(secret),
    ],
  ],
  'takes what is not signed': [
    'signature',
    /^A batch that is unsigned was answered 200: 401 would do$/,
    () => [
      new (class extends ExampleApp {
        override isToBeSigned(hook: string): boolean {
          return hook !== 'POST /raft/apply'
        }
      })(secret),
    ],
  ],
  'looks at the first signature only': [
    'signature-rotation',
    /^Of several signatures, separated by spaces, the second was valid, and the batch was not taken: The application answered 401/,
    () => [
      new (class extends ExampleApp {
        override candidates(signatures: string): readonly string[] {
          return super.candidates(signatures).slice(0, 1)
        }
      })(secret),
    ],
  ],
  'lets anybody replace its state': [
    'signature-hooks',
    /^PUT \/snapshot unsigned was answered 204: 401 would do$/,
    () => [
      new (class extends ExampleApp {
        override isToBeSigned(hook: string): boolean {
          return hook !== 'PUT /raft/snapshot'
        }
      })(secret),
    ],
  ],
  'fails when it hears who leads': [
    'leadership',
    /^It answered 500 to .*"event":"changed".*: 204 would do, and 404 says that it does not want to know$/,
    () => [
      new (class extends ExampleApp {
        override hearOfLeadership(): Answer {
          return { status: 500 }
        }
      })(),
    ],
  ],
}

describe('conformance', () => {
  it('finds nothing wrong with two instances of an application that is right', async (t) => {
    const { exitCode, findings } = await examine(t, [new ExampleApp(secret), new ExampleApp(secret)])
    assert.deepEqual(
      findings.filter(({ status }) => status !== 'ok'),
      [],
    )
    assert.deepEqual(
      findings.map(({ check }) => check),
      allChecks.map(({ name }) => name),
    )
    assert.equal(exitCode, 0)
  })

  it('has an application for each check that fails it', () => {
    const failed = new Set(Object.values(wrong).map(([check]) => check))
    assert.deepEqual(
      allChecks.filter(({ name }) => !failed.has(name)),
      [],
    )
  })

  for (const [what, [check, sentence, apps]] of Object.entries(wrong)) {
    it(`fails ${check} alone for an application that ${what}`, async (t) => {
      // One of them hangs, and is waited for; none of the others may be taken for it on a busy machine.
      const patience = sentence.source.includes('3000 ms') ? '3000' : '60000'
      const { exitCode, findings } = await examine(t, apps(), '--timeout-ms', patience)
      const failed = sentences(findings, 'failed')
      assert.deepEqual(Object.keys(failed), [check], JSON.stringify(failed, null, 2))
      assert.match(failed[check] ?? '', sentence)
      assert.equal(exitCode, 1)
    })
  }
})

describe('conformance says what follows', () => {
  const applyOnly = () =>
    new (class extends ExampleApp {
      override answer(hook: string, body: Buffer, raftPosition: number): Answer {
        return hook === 'POST /raft/apply' ? super.answer(hook, body, raftPosition) : { status: 404 }
      }
      override take(command: DeliveredCommand): unknown {
        return this.decide(command)
      }
      override apply(batch: DeliveredBatch | null): Answer {
        return super.apply(batch === null ? null : { ...batch, after: 0 })
      }
      override async sendSnapshot(response: ServerResponse): Promise<void> {
        send(response, { status: 501 })
      }
    })()

  it('from the apply hook being the only one: at least once, never compacted, and nothing is wrong', async (t) => {
    const { exitCode, findings } = await examine(t, [applyOnly()], '--allow-reset')
    assert.deepEqual(sentences(findings, 'failed'), {})
    const skipped = sentences(findings, 'skipped')
    assert.match(skipped.position ?? '', /^no position hook: .* at least once$/)
    assert.match(skipped.repeat ?? '', /^it tells no position, so that commands which come a second time take effect/)
    assert.match(skipped.gap ?? '', /nor does it see that commands are missing$/)
    assert.match(skipped.snapshot ?? '', /^no snapshot hook: the log is never compacted/)
    assert.match(skipped.leadership ?? '', /^no leadership hook: .*GET \/v1\/leader/)
    assert.match(skipped.determinism ?? '', /^no second instance/)
    assert.match(skipped.signature ?? '', /--secret/)
    assert.equal(exitCode, 0)
  })

  it('from a snapshot that cannot be restored', async (t) => {
    const app = new (class extends ExampleApp {
      override answer(hook: string, body: Buffer, raftPosition: number): Answer {
        return hook === 'PUT /raft/snapshot' ? { status: 405 } : super.answer(hook, body, raftPosition)
      }
    })()
    const { findings } = await examine(t, [app])
    assert.deepEqual(sentences(findings, 'failed'), {})
    const skipped = sentences(findings, 'skipped')
    for (const check of ['restore', 'restore-newer', 'restore-broken-off']) {
      assert.match(skipped[check] ?? '', /^no way to restore: /)
    }
  })

  it('from commands that are refused for good: delivery stops at them', async (t) => {
    const app = new (class extends ExampleApp {
      override apply(batch: DeliveredBatch | null): Answer {
        const foreign = batch?.commands.find(({ command }) => typeof command !== 'object' || command === null)
        if (foreign === undefined) return super.apply(batch)
        return { status: 422, body: { index: foreign.index, reason: 'not mine' } }
      }
    })()
    const { findings } = await examine(t, [app])
    assert.deepEqual(sentences(findings, 'failed'), {})
    const ok = sentences(findings, 'ok')
    assert.match(ok['any-json'] ?? '', /it refuses .*null.* for good, so that delivery stops until `raft-sidecar skip`/)
    assert.match(ok.bytes ?? '', /it refuses them for good/)
  })

  it('from its own commands being refused for good: give others', async (t) => {
    const app = new (class extends ExampleApp {
      override apply(batch: DeliveredBatch | null): Answer {
        return { status: 422, body: { index: batch?.commands[0]?.index, reason: 'not mine' } }
      }
    })()
    const { findings } = await examine(t, [app])
    assert.match(sentences(findings, 'failed').apply ?? '', /^It refuses command 1 for good \(422 "not mine"\)/)
    assert.ok(findings.slice(1).every(({ status }) => status === 'skipped'))
  })

  it('from snapshots of one state that differ: each instance must go on alike from the other one’s', async (t) => {
    const apps = ['n1', 'n2'].map(
      (name) =>
        new (class extends ExampleApp {
          #given = 0
          override async sendSnapshot(response: ServerResponse): Promise<void> {
            const headers = { 'raft-position': String(this.position) }
            send(response, { status: 200, headers, body: { ...this.state, of: name, number: ++this.#given } })
          }
        })(),
    )
    const { findings } = await examine(t, apps)
    assert.deepEqual(sentences(findings, 'failed'), {})
    const ok = sentences(findings, 'ok')
    assert.match(ok.snapshot ?? '', /two snapshots of one state differ, so that only its position tells/)
    assert.match(ok.determinism ?? '', /each instance goes on alike from the other one’s/)
  })

  it('from commands that leave the state as it was: give others', async (t) => {
    const app = new (class extends ExampleApp {
      override decide(): unknown {
        return null
      }
    })()
    const { findings } = await examine(t, [app])
    assert.match(sentences(findings, 'ok').snapshot ?? '', /give commands that change the state by --command/)
    assert.match(sentences(findings, 'ok').apply ?? '', /all of them null: a proposer learns nothing/)
  })

  it('from a second instance that began elsewhere', async (t) => {
    const ahead = applyOnly()
    const { complaint, exitCode } = await examine(t, [new ExampleApp(), ahead])
    assert.match(complaint, /does not tell its position, so that it may hold something/)
    assert.equal(exitCode, 64)
  })

  it('from a signature being expected when none is given', async (t) => {
    const app = new ExampleApp(secret)
    t.after(() => app.close())
    const { findings } = await run([await app.listen(), '--json'])
    assert.match(sentences(findings, 'failed').position ?? '', /answered 401.*; give its secret with --secret$/)
  })

  it('from nobody being there', async () => {
    const { findings, exitCode } = await run(['http://127.0.0.1:9/raft', '--json'])
    assert.match(sentences(findings, 'failed').position ?? '', /got no whole answer: .*ECONNREFUSED/)
    assert.equal(exitCode, 1)
  })
})

describe('the command line of conformance', () => {
  it('does not touch an application that holds something, unless it is told to', async (t) => {
    const app = new ExampleApp()
    app.position = 41
    const url = await app.listen()
    t.after(() => app.close())
    const refused = await run([url])
    assert.equal(refused.exitCode, 64)
    assert.match(refused.complaint, /is at 41\. .* start a fresh instance, or say by --allow-reset that what it holds/)
    assert.deepEqual(app.state, { count: 0, digest: '' })
    const allowed = await run([url, '--allow-reset', '--json'])
    assert.equal(allowed.exitCode, 0)
    assert.ok(app.position > 41)
  })

  it('sends the commands that it is given, in turn and numbered', async (t) => {
    const file = join(await temporaryDirectory(t), 'commands.ndjson')
    await writeFile(file, '{"op":"b","id":"{n}"}\n\n{"op":"c"}\n')
    const seen: unknown[] = []
    const app = new (class extends ExampleApp {
      override decide(command: DeliveredCommand): unknown {
        if (seen.length < 4) seen.push(command.command)
        return super.decide(command)
      }
    })()
    const { exitCode } = await examine(t, [app], '--command', '{"op":"a","n":{n}}', '--commands', file)
    assert.deepEqual(seen, [{ op: 'a', n: 1 }, { op: 'b', id: '2' }, { op: 'c' }, { op: 'a', n: 4 }])
    assert.equal(exitCode, 0)
  })

  it('prints one line a check, and what it did', async (t) => {
    const app = new ExampleApp()
    const url = await app.listen()
    t.after(() => app.close())
    const lines: string[] = []
    await main([url], { say: (line) => lines.push(line), complain: assert.fail })
    assert.equal(lines.length, allChecks.length + 2)
    assert.match(lines[0] ?? '', /^http:.*, from index 1 on, with neutral commands like .*: more is seen with the/)
    assert.equal(lines[1], 'ok       apply: it answers a batch with one result a command, or with an empty body')
    assert.match(lines.at(-1) ?? '', /^\d+ ok, 0 failed, 4 skipped; what the application holds now is test data$/)
  })

  const refused: Readonly<Record<string, readonly [argv: readonly string[], complaint: RegExp]>> = {
    'no URL': [[], /^Give one URL/],
    'something else than a URL': [['localhost:8080'], /^localhost:8080 is no URL of hooks/],
    'a secret that is none': [['http://127.0.0.1:9', '--secret', 'geheim'], /^A secret is whsec_/],
    'a command that is no JSON': [['http://127.0.0.1:9', '--command', '{op}'], /^{op} is no command/],
    'a file that is not there': [['http://127.0.0.1:9', '--commands', '/nowhere'], /^Cannot read --commands/],
    'a time that is none': [['http://127.0.0.1:9', '--timeout-ms', '5s'], /^--timeout-ms is 5s/],
    'an option that there is not': [['http://127.0.0.1:9', '--force'], /--force/],
  }
  for (const [what, [argv, expected]] of Object.entries(refused)) {
    it(`answers ${what} with what would do`, async () => {
      const { exitCode, complaint } = await run(argv)
      assert.equal(exitCode, 64)
      assert.match(complaint, expected)
      assert.match(complaint, /\n\nUsage: npm run conformance/)
    })
  }
})
