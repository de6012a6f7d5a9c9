import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { RunningServer } from '../running-server.ts'
import { LoopLag } from './loop-lag.ts'

/** Answers the requests of programs that watch the server. Returns false for other requests. */
export type ProbeRoutes = (request: IncomingMessage, response: ServerResponse) => boolean

const TEXT = 'text/plain; charset=utf-8'

/**
 * `GET /metrics` in the Prometheus text format 0.0.4; `/healthz`: 200 while the event loop turns; `/readyz`: 200 while clients are served, 503 before and
 * while the server stops.
 */
export function probeRoutes(server: RunningServer, log: Logger): ProbeRoutes {
  const lag = new LoopLag()
  let loaded: Promise<{ metrics(): Promise<string>; readonly contentType: string }> | undefined
  let running: Promise<string> | undefined
  const load = async () => (await import('./metrics.ts')).metricsOf({ server, lag })
  // Those who ask at the same time get the same text.
  const scrape = async () => {
    loaded ??= load()
    running ??= (await loaded).metrics().finally(() => {
      running = undefined
    })
    return { text: await running, type: (await loaded).contentType }
  }
  return (request, response) => {
    const path = request.url?.split('?', 1)[0]
    if (path !== '/metrics' && path !== '/healthz' && path !== '/readyz') return false
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(response, 405, TEXT, 'use GET\n', { allow: 'GET, HEAD' })
    } else if (path === '/healthz') {
      send(response, 200, TEXT, 'ok\n')
    } else if (path === '/readyz') {
      send(response, server.ready ? 200 : 503, TEXT, server.ready ? 'ready\n' : 'starting or stopping\n')
    } else {
      scrape().then(
        ({ text, type }) => send(response, 200, type, text),
        (error) => {
          log.error({ err: error }, 'cannot collect the metrics')
          send(response, 500, TEXT, 'the metrics cannot be collected; the log of the server says why\n')
        },
      )
    }
    return true
  }
}

function send(response: ServerResponse, status: number, type: string, text: string, more: object = {}): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', ...more }).end(text)
}
