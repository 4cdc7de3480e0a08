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
  /** It comes after so many more acknowledged writes … */
  readonly afterWrites: number
  /** … or when there was none for so long: soon, in the midst of the recovery from the strike before, or when the system has had its time for that. */
  readonly patienceMs: number
  /** The victims are started again after so many more; 0: at once … */
  readonly downForWrites: number
  /** … or when there was none for so long: there may be no quorum without them. */
  readonly downPatienceMs: number
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

/** The small ones most often, so that there is progress between the great ones. */
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
  /** What has not come yet, the small ones first, so that a short run has some of each. */
  #fresh: readonly StrikeKind[]

  constructor(seed: number, ids: readonly string[]) {
    this.#random = new Random(seed, 'kills')
    this.#ids = ids
    const isSmall = (kind: StrikeKind) => weights[kind] > 2
    const shuffled = this.#random.shuffled(strikeKinds)
    this.#fresh = [...shuffled.filter(isSmall), ...shuffled.filter((kind) => !isSmall(kind))]
  }

  /** `leader` may be anybody when nobody leads. */
  next(leader: string): Strike {
    const random = this.#random
    const kind = (random.chance(0.6) ? this.#fresh[0] : undefined) ?? random.pick(lots)
    this.#fresh = this.#fresh.filter((each) => each !== kind)
    // Now and then one machine is away for so long that it needs a snapshot.
    const isLong = kind === 'a machine' && random.chance(0.4)
    return {
      kind,
      victims: this.#victims(kind, leader),
      afterWrites: random.below(120),
      patienceMs: random.chance(0.25) ? random.below(800) : 8_000,
      downForWrites: isLong ? 400 : random.chance(0.3) ? 0 : random.below(60),
      downPatienceMs: isLong ? 10_000 : 1_000,
    }
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
