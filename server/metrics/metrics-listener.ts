import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import type { Address } from '../../config/index.ts'
import { isFromForeignPage } from '../foreign-pages.ts'
import { listenError } from '../listeners.ts'
import type { RunningServer } from '../running-server.ts'
import { probeRoutes } from './probe-routes.ts'

/** The listener for programs that watch the server. */
export interface MetricsListener {
  readonly host: string
  readonly port: number
  close(): Promise<void>
}

/** Prometheus and a few probes need no more. */
const MOST_CONNECTIONS = 32
const REQUEST_TIMEOUT_MS = 10_000

/** Opens it. @throws OptionError naming `metrics.listen` */
export async function openMetrics(server: RunningServer, address: Address, log: Logger): Promise<MetricsListener> {
  const probes = probeRoutes(server, log)
  const http = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: 8192 }, (request, response) => {
    if (isFromForeignPage(request, undefined)) response.writeHead(403, { connection: 'close' }).end()
    else if (!probes(request, response))
      response.writeHead(404, { 'content-type': 'text/plain' }).end('there are /metrics, /healthz and /readyz\n')
  })
  http.maxConnections = MOST_CONNECTIONS
  try {
    http.listen({ host: address.host, port: address.port })
    await once(http, 'listening')
  } catch (error) {
    throw listenError('metrics.listen', address, error)
  }
  const close = async () => {
    const closed = once(http, 'close')
    http.close()
    http.closeAllConnections()
    await closed
  }
  return { host: address.host, port: (http.address() as AddressInfo).port, close }
}
