import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'

/** The part of the server that can answer requests without Fastify. */
export interface DirectHandler {
  /** Whether Fastify would pass this request to `execute` too, if no hook of this server refused it. */
  handles(req: IncomingMessage): boolean
  execute(req: IncomingMessage, res: ServerResponse): void
}

/** The decisions that Fastify's hooks make as well. */
export interface Admission {
  /** Whether the request comes from where requests may come from. */
  isWelcome(req: IncomingMessage): boolean
  /** Calls `go` when it is the turn of the request. */
  inTurn(req: IncomingMessage, res: ServerResponse, go: () => void): void
  /** Calls `go` if the request needs no login or has one; refuses it otherwise. */
  letIn(req: IncomingMessage, res: ServerResponse, go: () => void): void
}

/**
 * Takes most requests past Fastify, whose router, hooks and objects for each request cost as much as answering a small one. Only requests that no hook of
 * Fastify would refuse before the login are taken; it gets all others, so that each refusal exists once.
 */
export class DirectRequests {
  readonly #admission: Admission
  #handler: DirectHandler | undefined

  /** Replaces the only listener of `server` for requests, which is Fastify's. */
  constructor(server: Server, admission: Admission) {
    this.#admission = admission
    const [fastify] = server.listeners('request') as RequestListener[]
    server.removeAllListeners('request')
    server.on('request', (req: IncomingMessage, res: ServerResponse) => {
      const handler = this.#handler
      if (handler?.handles(req) && admission.isWelcome(req)) this.#begin(req, res, handler)
      else fastify?.(req, res)
    })
  }

  /** From now on requests go to `handler`; without one, Fastify gets all of them. */
  goTo(handler: DirectHandler | undefined): void {
    this.#handler = handler
  }

  #begin(req: IncomingMessage, res: ServerResponse, handler: DirectHandler): void {
    const { inTurn, letIn } = this.#admission
    inTurn(req, res, () => letIn(req, res, () => handler.execute(req, res)))
  }
}
