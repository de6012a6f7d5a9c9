import type { Logger } from 'pino'
import { OptionError } from '../../../overlay-core/index.ts'
import type { Clock } from '../../clock.ts'
import type { RandomBytes } from '../../random.ts'
import type { Job } from '../api/job.ts'
import type { AdminFailure, Progress, Requester } from '../api/verb.ts'

/** More jobs are refused until one has ended. */
const MOST_RUNNING = 16
/** Jobs that have ended are shown until there are more. */
const MOST_ENDED = 200
/** What results of ended jobs may take together, as JSON. */
const MOST_RESULT_BYTES = 16 * 1024 * 1024
/** Watchers are told of progress at most so often. */
const PROGRESS_MS = 100

/** What the work of a job is given. */
export interface JobContext {
  readonly signal: AbortSignal
  progress(progress: Progress): void
}

/** Told of a job whenever it has changed. */
export type JobWatcher = (job: Job) => void

interface Entry {
  job: Job
  readonly controller: AbortController
  readonly ended: Promise<void>
  /** The result as JSON; undefined: there is none, or not any more. */
  result: string | undefined
  timer: NodeJS.Timeout | undefined
}

/** Long work of a server: what runs, what it came to, and who wants to know. */
export class Jobs {
  readonly #entries = new Map<string, Entry>()
  readonly #watchers = new Set<JobWatcher>()
  readonly #wallNow: Clock
  readonly #random: RandomBytes
  readonly #log: Logger
  #closed = false

  constructor(parts: { readonly wallNow: Clock; readonly random: RandomBytes; readonly log: Logger }) {
    this.#wallNow = parts.wallNow
    this.#random = parts.random
    this.#log = parts.log
  }

  /** Begins a job. @throws OptionError too many run, or the server stops */
  start(verb: string, order: object, { user }: Requester, work: (context: JobContext) => Promise<unknown>): Job {
    if (this.#closed) throw new OptionError('job', 'the server is stopping; ask again when it has started')
    if (this.running >= MOST_RUNNING)
      throw new OptionError('job', `${MOST_RUNNING} jobs run already; wait for one, or cancel it: overlayd job list`)
    const id = Buffer.from(this.#random(8)).toString('hex')
    const controller = new AbortController()
    const job: Job = {
      ...{ id, verb, order, state: 'running', ...(user !== undefined && { user }) },
      started: new Date(this.#wallNow()).toISOString(),
    }
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const entry: Entry = { job, controller, ended, result: undefined, timer: undefined }
    this.#entries.set(id, entry)
    this.#tell(entry)
    const { signal } = controller
    const context: JobContext = { signal, progress: (progress) => this.#progress(entry, progress) }
    // Its answer names the job, so it must not have ended before.
    void Promise.resolve()
      .then(() => work(context))
      .then(
        (result) => this.#end(entry, { state: 'done' }, result),
        (error) => this.#end(entry, this.#failure(entry, error), undefined),
      )
      .then(resolve)
    return job
  }

  get running(): number {
    let running = 0
    for (const { job } of this.#entries.values()) if (job.state === 'running') running++
    return running
  }

  /** All jobs that are known, the latest first, without results. */
  list(): Job[] {
    return [...this.#entries.values()].map(({ job }) => job).reverse()
  }

  /** A job with its result. @throws OptionError there is none of this id */
  show(id: string): Job {
    const { job, result } = this.#need(id)
    return result === undefined ? job : { ...job, result: JSON.parse(result) }
  }

  /** A job without its result, if it is known. */
  find(id: string): Job | undefined {
    return this.#entries.get(id)?.job
  }

  /** Asks a job to stop; it does so at its next safe place. @throws OptionError there is none of this id */
  cancel(id: string): Job {
    const entry = this.#need(id)
    if (entry.job.state !== 'running' || entry.job.cancelling) return entry.job
    entry.job = { ...entry.job, cancelling: true }
    entry.controller.abort()
    this.#tell(entry)
    return entry.job
  }

  /** Has `watcher` told of all changes from now on. Returns how to end that. */
  watch(watcher: JobWatcher): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Stops all jobs and waits for them. */
  async close(): Promise<void> {
    this.#closed = true
    const running = [...this.#entries.values()].filter(({ job }) => job.state === 'running')
    for (const { job } of running) this.cancel(job.id)
    await Promise.all(running.map(({ ended }) => ended))
  }

  #need(id: string): Entry {
    const entry = this.#entries.get(id)
    if (entry !== undefined) return entry
    throw new OptionError('job', `there is no job ${JSON.stringify(id)}; see overlayd job list`)
  }

  #progress(entry: Entry, progress: Progress): void {
    if (entry.job.state !== 'running') return
    entry.job = { ...entry.job, progress }
    entry.timer ??= setTimeout(() => {
      entry.timer = undefined
      this.#tell(entry)
    }, PROGRESS_MS)
  }

  #failure({ controller }: Entry, error: unknown): Pick<Job, 'state' | 'error'> {
    if (controller.signal.aborted) return { state: 'cancelled' }
    return { state: 'failed', error: this.#failureOf(error) }
  }

  #failureOf(error: unknown): AdminFailure {
    if (error instanceof OptionError) return { option: error.option, message: error.message }
    this.#log.error({ err: error }, 'a job failed')
    return { message: `${error instanceof Error ? error.message : String(error)}; the log of the server says more` }
  }

  #end(entry: Entry, how: Pick<Job, 'state' | 'error'>, result: unknown): void {
    clearTimeout(entry.timer)
    entry.timer = undefined
    entry.job = { ...entry.job, ...how, ended: new Date(this.#wallNow()).toISOString() }
    entry.result = result === undefined ? undefined : JSON.stringify(result)
    this.#log.info({ job: entry.job.id, verb: entry.job.verb, state: entry.job.state }, 'a job has ended')
    this.#forget()
    this.#tell(entry)
  }

  /** Lets go of the oldest jobs and results. The latest result stays, whatever its size, so that who waits for it gets it. */
  #forget(): void {
    const ended = [...this.#entries.values()].filter(({ job }) => job.state !== 'running')
    for (const { job } of ended.slice(0, -MOST_ENDED)) this.#entries.delete(job.id)
    ended.sort((a, b) => ((a.job.ended ?? '') < (b.job.ended ?? '') ? 1 : -1))
    let bytes = 0
    for (const [at, entry] of ended.entries()) {
      bytes += entry.result?.length ?? 0
      if (at > 0 && bytes > MOST_RESULT_BYTES) entry.result = undefined
    }
  }

  #tell({ job }: Entry): void {
    for (const watcher of this.#watchers) watcher(job)
  }
}
