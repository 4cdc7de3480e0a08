// Who is killed next, drawn from a seed: single processes, several at once, whole machines, everything. How a run then unfolds is up to the system.

import { Random } from '../../sim/world/random.ts'

export type Part = 'sidecar' | 'application'

export interface Victim {
  readonly id: string
  readonly part: Part
}

export interface Strike {
  readonly kind: StrikeKind
  /** All of them in the same moment. */
  readonly victims: readonly Victim[]
  /** It comes after so many more acknowledged writes, or after a while in which there were fewer. */
  readonly afterWrites: number
  /** So many writes are acknowledged before the victims are started again, or a while passes; 0: at once. */
  readonly downForWrites: number
}

export const strikeKinds = [
  'a sidecar',
  'an application',
  'the leading sidecar',
  'a machine',
  'the leading machine',
  'two machines',
  'all sidecars',
  'all applications',
  'everything',
] as const
export type StrikeKind = (typeof strikeKinds)[number]

/** The single ones most often, so that there is progress between the great ones. */
const weights: Readonly<Record<StrikeKind, number>> = {
  'a sidecar': 5,
  'an application': 5,
  'the leading sidecar': 4,
  'a machine': 4,
  'the leading machine': 3,
  'two machines': 2,
  'all sidecars': 1,
  'all applications': 1,
  everything: 1,
}
const lots = strikeKinds.flatMap((kind) => Array<StrikeKind>(weights[kind]).fill(kind))

export class KillPlan {
  readonly #random: Random
  readonly #ids: readonly string[]
  /** What has not come yet, so that a short run has some of each. */
  #fresh: StrikeKind[]

  constructor(seed: number, ids: readonly string[]) {
    this.#random = new Random(seed, 'kills')
    this.#ids = ids
    this.#fresh = this.#random.shuffled(strikeKinds)
  }

  /** `leader` may be anybody when nobody leads. */
  next(leader: string): Strike {
    const random = this.#random
    const kind = (random.chance(0.5) ? this.#fresh.pop() : undefined) ?? random.pick(lots)
    this.#fresh = this.#fresh.filter((each) => each !== kind)
    // A few stay away for long enough to need a snapshot.
    const downForWrites = random.chance(0.1) ? 400 : random.chance(0.3) ? 0 : random.below(40)
    return { kind, victims: this.#victims(kind, leader), afterWrites: random.below(60), downForWrites }
  }

  #victims(kind: StrikeKind, leader: string): readonly Victim[] {
    const random = this.#random
    const sidecars = (ids: readonly string[]) => ids.map((id): Victim => ({ id, part: 'sidecar' }))
    const applications = (ids: readonly string[]) => ids.map((id): Victim => ({ id, part: 'application' }))
    const machines = (ids: readonly string[]) => [...sidecars(ids), ...applications(ids)]
    switch (kind) {
      case 'a sidecar':
        return sidecars([random.pick(this.#ids)])
      case 'an application':
        return applications([random.pick(this.#ids)])
      case 'the leading sidecar':
        return sidecars([leader])
      case 'a machine':
        return machines([random.pick(this.#ids)])
      case 'the leading machine':
        return machines([leader])
      case 'two machines':
        return machines(random.shuffled(this.#ids).slice(0, 2))
      case 'all sidecars':
        return sidecars(this.#ids)
      case 'all applications':
        return applications(this.#ids)
      case 'everything':
        return machines(this.#ids)
      default:
        return kind satisfies never
    }
  }
}
