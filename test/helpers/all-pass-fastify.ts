import type { Server } from 'node:http'
import { DirectRequests } from '../../server/direct-requests.ts'

/** Lets requests reach WebDAV as in the real server, but without checks. Call it before anything listens to requests of `server` but Fastify. */
export function allPassFastify(server: Server): DirectRequests {
  const go = (_req: unknown, _res: unknown, next: () => void) => next()
  return new DirectRequests(server, { isWelcome: () => true, inTurn: go, letIn: go })
}
