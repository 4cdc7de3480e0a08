// What was found in a data directory, for a person and for a program.

import type { InspectedSegment, InspectedSnapshot, Inspection } from '../storage/inspect-directory.ts'
import { columns } from './columns.ts'

export interface Looked {
  readonly path: string
  /** The process that may write there meanwhile; null: none does. */
  readonly heldBy: number | null
  readonly inspection: Inspection
}

export function logReport({ path, heldBy, inspection }: Looked): object {
  const { metafile, snapshots, segments, mark, log, isLogSuperseded, verdict } = inspection
  const damage = verdict.kind === 'damaged' ? verdict.damage : null
  const identity = metafile?.content?.identity ?? null
  const hardState = metafile?.content?.hardState ?? null
  const run = metafile?.content ? { run: metafile.content.run } : null
  return {
    dataDir: path,
    heldBy,
    verdict: verdict.kind,
    damage: damage && {
      file: damage.path,
      offset: damage.offset,
      problem: damage.problem,
      remedy: damage.remedy,
    },
    tornTail: verdict.kind === 'torn' ? verdict.tail : null,
    metafile: metafile && { slots: metafile.slots, ...identity, ...hardState, ...run },
    log: log && { ...log, isSuperseded: isLogSuperseded },
    mark: mark && { ...mark.position, index: mark.index },
    snapshots,
    segments,
  }
}

export function logScreen(looked: Looked): string {
  const { snapshots, segments } = looked.inspection
  const parts = [columns(factsOf(looked)), snapshotTable(snapshots), segmentTable(segments), [verdictOf(looked)]]
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n')
}

function factsOf({ path, heldBy, inspection }: Looked): string[][] {
  const facts = [['Directory', path]]
  if (heldBy !== null)
    facts.push(['Held', `by process ${heldBy}: it may write meanwhile, so that the end may be moving`])
  const { metafile, log, isLogSuperseded, mark } = inspection
  if (metafile?.content) {
    const { identity, hardState, run } = metafile.content
    const { cluster, nodeId, incarnation, foundingConfiguration, restoredFrom } = identity
    facts.push(['Node', `${nodeId} of cluster ${cluster}, incarnation ${incarnation}`])
    const ids = foundingConfiguration?.members.map((member) => member.id).join(', ')
    const backup = restoredFrom && `${restoredFrom.lastIncluded.index} of term ${restoredFrom.lastIncluded.term}`
    const founded = backup === null ? 'founded' : `made from a backup through entry ${backup},`
    facts.push(['Cluster', ids === undefined ? 'joined' : `${founded} with ${ids}`])
    // Of two copies, what tells which is the older one.
    facts.push(['Runs', run === null ? 'none' : `${run.number}, the last one ${run.id}`])
    const { currentTerm, votedFor } = hardState
    facts.push(['Term', `${currentTerm}, ${votedFor === null ? 'no vote given' : `vote given to ${votedFor}`}`])
  }
  if (metafile !== null) {
    const slots = metafile.slots.map((slot, number) => {
      return `slot ${number}: ${'version' in slot ? `version ${slot.version}, sound` : slot.problem.replace(/\.$/, '')}`
    })
    facts.push(['Metafile', slots.join('; ')])
  }
  if (log !== null) {
    const range =
      log.lastIndex < log.firstIndex
        ? `empty, begins with entry ${log.firstIndex}`
        : `entries ${log.firstIndex} to ${log.lastIndex}`
    facts.push(['Log', isLogSuperseded ? `${range}; the next start gives it up for the newest snapshot` : range])
  }
  if (mark !== null) {
    const { segment, offset } = mark.position
    const covers =
      mark.index === null ? 'whatever stood there' : mark.index === 0 ? 'no entry yet' : `entry ${mark.index}`
    facts.push(['Durable', `for certain to segment ${segment}, offset ${offset}: ${covers}`])
  }
  return facts
}

function snapshotTable(snapshots: readonly InspectedSnapshot[]): string[] {
  if (snapshots.length === 0) return []
  const rows = snapshots.map(({ name, index, term, sizeBytes, damage }) => {
    const where = damage?.offset === null ? 'UNUSABLE' : `DAMAGED at offset ${damage?.offset}`
    return [
      name,
      String(index),
      String(term),
      String(sizeBytes),
      damage === null ? 'sound' : `${where}: ${damage.problem}`,
    ]
  })
  return columns([['SNAPSHOT', 'THROUGH', 'TERM', 'BYTES', 'STATE'], ...rows])
}

function segmentTable(segments: readonly InspectedSegment[]): string[] {
  if (segments.length === 0) return []
  const rows = segments.map(({ name, entries, batches, usedBytes, sizeBytes, state }) => [
    name,
    entries === null ? '-' : span(entries.first, entries.last),
    entries === null ? '-' : span(entries.lowestTerm, entries.highestTerm),
    String(batches),
    String(usedBytes),
    String(sizeBytes),
    state === 'damaged' ? 'DAMAGED' : state,
  ])
  return columns([['SEGMENT', 'ENTRIES', 'TERMS', 'BATCHES', 'USED', 'OF BYTES', 'STATE'], ...rows])
}

function span(from: number, to: number): string {
  return from === to ? String(from) : `${from} to ${to}`
}

function verdictOf({ inspection: { verdict, snapshots }, heldBy }: Looked): string {
  switch (verdict.kind) {
    case 'sound': {
      const spoilt = snapshots.find((snapshot) => snapshot.damage !== null)
      if (spoilt === undefined) return 'Sound: every checksum is right, and the next start takes all of it.'
      return `Sound: the next start takes it, and has no need of ${spoilt.name}, which is not sound.`
    }
    case 'new':
      return 'No node was founded here: the next start would found one.'
    case 'torn': {
      const { file, offset, bytes, problem } = verdict.tail
      const cause =
        heldBy === null ? 'It is the rest of a write' : 'It is the rest of a write, or one that is under way,'
      return `Sound, with a torn tail: ${file}, offset ${offset}. ${problem} ${cause} that nobody was told of; the next start cuts these ${bytes} bytes, and nothing needs to be done.`
    }
    case 'damaged': {
      const { path, offset, problem, remedy } = verdict.damage
      return `DAMAGED: ${path}${offset === null ? '.' : `, first at offset ${offset}.`} ${problem} The next start refuses this directory. ${remedy}`
    }
    default:
      return verdict satisfies never
  }
}
