import { Worker } from 'node:worker_threads'
import { FairTurns, TooManyWaiting } from '../../../overlay-core/index.ts'
import type { PasswordResult, PasswordTask } from './password-program.ts'

/** Waiting tasks beyond this number are refused. */
const MOST_WAITING = 256
const PROGRAM = import.meta.url.replace(/password-thread(\.\w+)$/, 'password-program$1')

/**
 * A thread that hashes passwords, one after the other, so that a flood of logins takes one processor at most and never the event loop. It starts with
 * the first task. Waiting clients take turns.
 */
export class PasswordThread {
  #worker: Worker | undefined
  #running: { readonly id: number; readonly done: (value: PasswordResult['value']) => void } | undefined
  readonly #turns = new FairTurns(1, MOST_WAITING)
  #last = 0
  #closed = false

  /** Whether the password is that of the hash. `client` takes turns with others. @throws TooManyWaiting */
  async verify(client: string, password: string, hash: string): Promise<boolean> {
    const right = await this.#do(client, { kind: 'verify', password, hash })
    if (typeof right !== 'boolean') throw new TooManyWaiting('the thread that checks passwords has ended')
    return right
  }

  /** A new hash of the password. @throws TooManyWaiting */
  async hash(password: string, salt: Uint8Array): Promise<string> {
    const made = await this.#do('', { kind: 'hash', password, salt })
    if (typeof made !== 'string') throw new TooManyWaiting('there is no memory to hash a password')
    return made
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#end(undefined)
    await this.#worker?.terminate()
  }

  async #do(client: string, task: DistributiveOmit<PasswordTask, 'id'>): Promise<PasswordResult['value']> {
    if (this.#closed) throw new TooManyWaiting('the thread that checks passwords has ended')
    return await this.#turns.run(client, () => this.#send(task))
  }

  /** Undefined if the thread ends before it answers. */
  async #send(task: DistributiveOmit<PasswordTask, 'id'>): Promise<PasswordResult['value']> {
    if (this.#closed) return undefined
    const id = ++this.#last
    const { promise, resolve } = Promise.withResolvers<PasswordResult['value']>()
    this.#running = { id, done: resolve }
    this.#thread().postMessage({ ...task, id })
    return await promise
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(new URL(PROGRAM), { execArgv: [], stdin: false })
    worker.unref()
    worker.on('message', ({ id, value }: PasswordResult) => {
      if (this.#running?.id === id) this.#end(value)
    })
    const lost = () => {
      if (this.#worker !== worker) return
      this.#worker = undefined
      if (!this.#closed) this.#end(undefined)
    }
    worker.on('error', lost)
    worker.on('exit', lost)
    this.#worker = worker
    return worker
  }

  #end(value: PasswordResult['value']): void {
    const running = this.#running
    this.#running = undefined
    running?.done(value)
  }
}

type DistributiveOmit<Type, Key extends keyof never> = Type extends unknown ? Omit<Type, Key> : never
