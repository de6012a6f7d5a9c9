import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** One event of a stream of server-sent events. */
export interface ServerSentEvent {
  readonly event: string
  readonly data: string
}

/** Reads server-sent events (HTML Living Standard, section 9.2.6). Fields other than `event` and `data` are ignored. */
export async function* eventsIn(input: Readable): AsyncGenerator<ServerSentEvent> {
  let event = 'message'
  let data: string[] = []
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line === '') {
      if (data.length > 0) yield { event, data: data.join('\n') }
      event = 'message'
      data = []
      continue
    }
    const at = line.indexOf(':')
    const [field, value] = at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')]
    if (field === 'event') event = value
    else if (field === 'data') data.push(value)
  }
}
