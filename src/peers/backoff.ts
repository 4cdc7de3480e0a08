// How long to wait before the next dial. Jitter keeps nodes that lost the same peer from coming back in step.

const firstMs = 50
export const slowestMs = 2000

/** Anywhere up to 50 ms after the first failure, doubling up to 2 s. `random` is in [0, 1). */
export function backoffMs(failures: number, random: () => number): number {
  return random() * Math.min(slowestMs, firstMs * 2 ** Math.max(0, failures - 1))
}

/** After a refusal, which only a change of configuration ends: never soon. */
export function refusedBackoffMs(random: () => number): number {
  return slowestMs * (0.5 + random() / 2)
}
