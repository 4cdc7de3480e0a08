// A check: one claim about an application, and how it is put to the test. They run in turn, each against the application at the end of its log.

import { Failure, Skip } from './finding.ts'
import type { Subject } from './subject.ts'

export interface Examination {
  readonly subject: Subject
  /** A second instance, to be compared with the first; null: there is none. */
  readonly peer: Peer | null
  /** What the application was told to sign with; null: nothing is signed. */
  readonly secret: string | null
}

export interface Peer {
  readonly subject: Subject
  /** Where it was when the run began; null: it does not tell. */
  readonly position: number | null
}

export interface Check {
  readonly name: string
  /** What is true of the application when it passes, as a sentence. */
  readonly claim: string
  /** Without it nothing else can be checked. */
  readonly isFundamental?: boolean
  /** Throws Failure or Skip; returns what else is worth knowing. */
  run(examination: Examination): Promise<string | undefined>
}

export interface Finding {
  readonly check: string
  readonly status: 'ok' | 'failed' | 'skipped'
  readonly sentence: string
}

export async function runChecks(
  checks: readonly Check[],
  examination: Examination,
  onFinding: (finding: Finding) => void,
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  let missing: string | null = null
  for (const check of checks) {
    const finding: Finding =
      missing === null
        ? await runOne(
            check,
            examination,
            findings.some(({ status }) => status === 'failed'),
          )
        : { check: check.name, status: 'skipped', sentence: `nothing can be told before ${missing} holds` }
    if (finding.status === 'failed' && check.isFundamental === true) missing = check.name
    findings.push(finding)
    onFinding(finding)
  }
  return findings
}

async function runOne(check: Check, examination: Examination, hasFailedBefore: boolean): Promise<Finding> {
  const { name, claim, run } = check
  try {
    await examination.subject.settle()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const sentence = `the application cannot be brought to the end of its log: ${error.message}`
    return { check: name, status: hasFailedBefore ? 'skipped' : 'failed', sentence }
  }
  try {
    const more = await run(examination)
    return { check: name, status: 'ok', sentence: more === undefined ? claim : `${claim} (${more})` }
  } catch (error) {
    if (error instanceof Skip) return { check: name, status: 'skipped', sentence: error.message }
    if (error instanceof Failure) return { check: name, status: 'failed', sentence: error.message }
    throw error
  }
}
