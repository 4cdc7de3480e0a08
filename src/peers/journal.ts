// Retries go on for days; the log says a thing once for each peer, and again when it has changed.

/** The part of pino that this room uses. */
export interface Logger {
  info(fields: object, sentence: string): void
  warn(fields: object, sentence: string): void
}

/** Strangers choose some of the subjects, so that only so many are remembered. */
const maxSubjects = 256

export class Journal {
  readonly #logger: Logger
  readonly #states = new Map<string, string>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  info(subject: string, state: string, fields: object, sentence: string): void {
    if (this.#changed(subject, state)) this.#logger.info(fields, sentence)
  }

  warn(subject: string, state: string, fields: object, sentence: string): void {
    if (this.#changed(subject, state)) this.#logger.warn(fields, sentence)
  }

  forget(subject: string): void {
    this.#states.delete(subject)
  }

  #changed(subject: string, state: string): boolean {
    const before = this.#states.get(subject)
    if (before === state) return false
    // Set anew, the subject moves to the end: the first one of the map is the one that has not changed for longest.
    this.#states.delete(subject)
    this.#states.set(subject, state)
    if (this.#states.size > maxSubjects) {
      for (const oldest of this.#states.keys()) {
        this.#states.delete(oldest)
        break
      }
    }
    return true
  }
}
