import { createInterface } from 'node:readline'
import { Agent, type Dispatcher, request } from 'undici'
import type { Job } from '../api/job.ts'
import { socketPath } from '../api/socket-path.ts'
import { type AdminFailure, type Progress, pathOf } from '../api/verb.ts'
import type { OrderOf, ResultOf, VerbName } from '../verbs/table.ts'
import { eventsIn } from './server-sent-events.ts'

/** Some verbs wait for all running calls, so they take as long as the longest one. */
const TIMEOUT_MS = 10 * 60_000

/** Where the admin listener of a server is. */
export type AdminAddress =
  | { readonly socket: string }
  | {
      readonly url: string
      /** The field `Authorization`, for example `Basic …`. */
      readonly authorization: string
      /** The authorities that the certificate of the server may be of, in PEM form; those of Node by default. */
      readonly ca?: string
    }

/** What to do while a job runs. */
export interface FollowOptions {
  /** Told of a job whenever it has changed. */
  readonly onJob?: (job: Job) => void
  readonly onProgress?: (progress: Progress) => void
  /** Cancels the job. */
  readonly signal?: AbortSignal
}

/** The server refused an order, or it failed. */
export class AdminError extends Error {
  /** The status of the answer; 0 if a job failed or was cancelled. */
  readonly status: number
  /** The part of the order that is wrong. */
  readonly option: string | undefined

  constructor(status: number, { message, option }: AdminFailure) {
    super(message)
    this.name = 'AdminError'
    this.status = status
    this.option = option
  }
}

/** Sends orders to the admin listener of a server. */
export class AdminClient {
  readonly #origin: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #dispatcher: Agent
  readonly #closePath: () => Promise<void>

  private constructor(address: AdminAddress, path: string | undefined, closePath: () => Promise<void>) {
    const timeouts = { headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS }
    this.#closePath = closePath
    if ('socket' in address) {
      this.#origin = 'http://localhost'
      this.#headers = {}
      this.#dispatcher = new Agent({ ...timeouts, connect: { socketPath: path as string } })
      return
    }
    this.#origin = new URL(address.url).origin
    this.#headers = { authorization: address.authorization }
    this.#dispatcher = new Agent({ ...timeouts, connect: { ...(address.ca !== undefined && { ca: address.ca }) } })
  }

  /** Prepares to send orders; connects with the first one. */
  static async to(address: AdminAddress): Promise<AdminClient> {
    if (!('socket' in address)) return new AdminClient(address, undefined, async () => undefined)
    const { path, close } = await socketPath(address.socket)
    return new AdminClient(address, path, close)
  }

  /**
   * Executes a verb and waits for its result, also if it is long.
   *
   * @throws AdminError it was refused or failed · an error of the connection
   */
  async run<Name extends VerbName>(
    name: Name,
    order: OrderOf<Name>,
    options: FollowOptions = {},
  ): Promise<ResultOf<Name>> {
    const answer = await this.#post(name, order as object)
    const given = (await answer.body.json()) as ResultOf<Name>
    if (answer.statusCode !== 202) return given
    const job = await this.follow((given as Job).id, options)
    if (job.state === 'done') return job.result as ResultOf<Name>
    throw new AdminError(0, job.error ?? { message: 'it was cancelled; see overlayd job list for what was done' })
  }

  /** Begins long work, and does not wait for it. @throws as `run` */
  async start<Name extends VerbName>(name: Name, order: OrderOf<Name>): Promise<Job> {
    return (await (await this.#post(name, order as object)).body.json()) as Job
  }

  /** Executes a verb that answers lines. @throws as `run` */
  async *lines<Name extends VerbName>(name: Name, order: OrderOf<Name>): AsyncGenerator<ResultOf<Name>> {
    const { body } = await this.#post(name, order as object)
    for await (const line of createInterface({ input: body, crlfDelay: Number.POSITIVE_INFINITY }))
      yield JSON.parse(line)
  }

  /** Waits for the end of a job, and returns it with its result. @throws as `run` */
  async follow(id: string, { onJob, onProgress, signal }: FollowOptions = {}): Promise<Job> {
    const cancel = () => void this.run('job cancel', { id }).catch(() => undefined)
    if (signal?.aborted) cancel()
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      for await (const job of this.jobs(id)) {
        onJob?.(job)
        if (job.progress !== undefined) onProgress?.(job.progress)
        if (job.state !== 'running') return job
      }
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
    throw new Error('the server ended before the job')
  }

  /** The changes of one job until it has ended, or of all jobs. @throws as `run` */
  async *jobs(id?: string): AsyncGenerator<Job> {
    const query = id === undefined ? '' : `?id=${encodeURIComponent(id)}`
    const { body } = await this.#checked('GET', `/v1/job/events${query}`)
    for await (const { event, data } of eventsIn(body)) if (event === 'job') yield JSON.parse(data)
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy()
    await this.#closePath()
  }

  #post(name: string, order: object): Promise<Dispatcher.ResponseData> {
    return this.#checked('POST', pathOf(name), JSON.stringify(order))
  }

  async #checked(method: 'GET' | 'POST', path: string, body?: string): Promise<Dispatcher.ResponseData> {
    const headers = { ...this.#headers, ...(body !== undefined && { 'content-type': 'application/json' }) }
    const answer = await request(`${this.#origin}${path}`, {
      ...{ method, headers, dispatcher: this.#dispatcher },
      ...(body !== undefined && { body }),
    })
    if (answer.statusCode < 300) return answer
    throw new AdminError(answer.statusCode, failureIn(answer.statusCode, await answer.body.text()))
  }
}

function failureIn(status: number, text: string): AdminFailure {
  try {
    const given = JSON.parse(text) as Partial<AdminFailure>
    if (typeof given.message === 'string') return { ...given, message: given.message }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return { message: `it answers ${status}${text === '' ? '' : `: ${text.trim().slice(0, 300)}`}` }
}
