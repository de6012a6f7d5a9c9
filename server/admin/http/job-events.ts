import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Job } from '../api/job.ts'
import type { AdminFailure } from '../api/verb.ts'
import type { Jobs } from '../jobs/jobs.ts'

/** Where the events are. */
export const JOB_EVENTS_PATH = '/v1/job/events'
/** More watchers are refused. */
const MOST_WATCHERS = 100
/** A connection without events gets a comment, so that proxies keep it and a dead client is noticed. */
const HEARTBEAT_MS = 15_000

/**
 * Adds `GET /v1/job/events`: server-sent events (HTML Living Standard, section 9.2), each a job that has changed. At first come the present jobs. With `?id=` only
 * that job, with its result at the end, after which the answer ends.
 */
export function addJobEvents(app: FastifyInstance, jobs: Jobs): void {
  let watchers = 0
  app.get(
    JOB_EVENTS_PATH,
    {
      schema: { querystring: { type: 'object', properties: { id: { type: 'string' } }, additionalProperties: false } },
    },
    async (request, reply) => {
      const { id } = request.query as { id?: string }
      const present = id === undefined ? jobs.list() : [jobs.show(id)]
      if (watchers >= MOST_WATCHERS) {
        const message = `${MOST_WATCHERS} clients watch jobs already; close one, or ask for ${'`job list`'} instead`
        return reply.code(503).send({ message } satisfies AdminFailure)
      }
      watchers++
      reply.hijack()
      const response = reply.raw
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
      new JobFeed(response, jobs, id).begin(present, () => watchers--)
      return reply
    },
  )
}

/** Sends the changes of jobs to one client. If it reads too slowly, only the latest state of each job waits. */
class JobFeed {
  readonly #response: ServerResponse
  readonly #jobs: Jobs
  readonly #id: string | undefined
  readonly #waiting = new Set<string>()

  constructor(response: ServerResponse, jobs: Jobs, id: string | undefined) {
    this.#response = response
    this.#jobs = jobs
    this.#id = id
  }

  begin(present: readonly Job[], ended: () => void): void {
    const response = this.#response
    const stopWatching = this.#jobs.watch((job) => this.#changed(job))
    const heartbeat = setInterval(() => response.write(':\n\n'), HEARTBEAT_MS)
    response.on('drain', () => this.#sendWaiting())
    response.once('close', () => {
      stopWatching()
      clearInterval(heartbeat)
      ended()
    })
    for (const job of [...present].reverse()) this.#changed(job)
  }

  #changed(job: Job): void {
    if (this.#id !== undefined && job.id !== this.#id) return
    this.#waiting.add(job.id)
    if (!this.#response.writableNeedDrain) this.#sendWaiting()
  }

  #sendWaiting(): void {
    for (const id of this.#waiting) {
      if (this.#response.writableNeedDrain || this.#response.writableEnded) return
      this.#waiting.delete(id)
      this.#send(id)
    }
  }

  #send(id: string): void {
    const known = this.#jobs.find(id)
    if (known === undefined) return
    const job = this.#id === undefined ? known : this.#jobs.show(id)
    this.#response.write(`event: job\ndata: ${JSON.stringify(job)}\n\n`)
    if (this.#id !== undefined && job.state !== 'running') this.#response.end()
  }
}
