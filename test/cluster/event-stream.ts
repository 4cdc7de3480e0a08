// Server-sent events of a real sidecar, as a client reads them.

export interface ServerEvent {
  readonly id: string | null
  readonly event: string
  /** Parsed as JSON. */
  readonly data: unknown
}

/** Until the connection ends, in order or not, or `signal` says so; throws only when it is not answered with a stream. */
export async function* serverEvents(
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): AsyncGenerator<ServerEvent> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...headers }, signal })
  if (response.status !== 200 || response.body === null) {
    throw new Error(`${url} was answered with ${response.status} ${await response.text()}`)
  }
  let text = ''
  try {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk
      const frames = text.split('\n\n')
      text = frames.pop() ?? ''
      for (const frame of frames) {
        const event = parse(frame)
        if (event !== null) yield event
      }
    }
  } catch {
    // A killed sidecar ends it in the middle; the reader goes to another one.
  }
}

/** Null: a comment, which keeps the connection alive. */
function parse(frame: string): ServerEvent | null {
  const fields = new Map<string, string>()
  for (const line of frame.split('\n')) {
    const [, name = '', value = ''] = /^([a-z]*):? ?(.*)$/.exec(line) ?? []
    if (name !== '') fields.set(name, value)
  }
  const data = fields.get('data')
  if (data === undefined) return null
  return { id: fields.get('id') ?? null, event: fields.get('event') ?? 'message', data: JSON.parse(data) }
}
