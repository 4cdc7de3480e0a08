// Short calls to processes that may be dead, starting or busy: no answer is an answer.

/** Null when there was none in time, or none of status 200. */
export async function getJson<T>(url: string, timeoutMs = 1000): Promise<T | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
    const body = (await response.json()) as T
    return response.ok ? body : null
  } catch {
    return null
  }
}

export async function postJson<T>(url: string, body: unknown, timeoutMs: number): Promise<T | null> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    })
    const answer = (await response.json()) as T
    return response.ok ? answer : null
  } catch {
    return null
  }
}
