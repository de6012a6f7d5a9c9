import { Worker } from 'node:worker_threads'
import type { PasswordResult, PasswordTask } from './password-program.ts'

/** Waiting tasks beyond this number are refused. */
const MOST_WAITING = 256
const PROGRAM = import.meta.url.replace(/password-thread(\.\w+)$/, 'password-program$1')

interface Waiting {
  readonly task: PasswordTask
  readonly done: (value: PasswordResult['value']) => void
}

/** The thread hashes more passwords than it can at the moment. */
export class TooManyLogins extends Error {}

/**
 * A thread that hashes passwords, one after the other, so that a flood of logins takes one processor at most and never the event loop. It starts with
 * the first task. Waiting clients take turns: one that sends many tasks delays the others by one each.
 */
export class PasswordThread {
  #worker: Worker | undefined
  #running: Waiting | undefined
  /** Waiting tasks by client; the clients in the order of their turns. */
  readonly #waiting = new Map<string, Waiting[]>()
  #count = 0
  #last = 0
  #closed = false

  /** Whether the password is that of the hash. `client` takes turns with others. @throws TooManyLogins */
  async verify(client: string, password: string, hash: string): Promise<boolean> {
    const right = await this.#do(client, { kind: 'verify', password, hash })
    if (typeof right !== 'boolean') throw new TooManyLogins('the thread that checks passwords has ended')
    return right
  }

  /** A new hash of the password. @throws TooManyLogins */
  async hash(password: string, salt: Uint8Array): Promise<string> {
    const made = await this.#do('', { kind: 'hash', password, salt })
    if (typeof made !== 'string') throw new TooManyLogins('there is no memory to hash a password')
    return made
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const list of this.#waiting.values()) for (const { done } of list) done(undefined)
    this.#waiting.clear()
    this.#running?.done(undefined)
    this.#running = undefined
    await this.#worker?.terminate()
  }

  #do(client: string, task: DistributiveOmit<PasswordTask, 'id'>): Promise<PasswordResult['value']> {
    if (this.#closed || this.#count >= MOST_WAITING) throw new TooManyLogins('too many logins are being verified')
    return new Promise((done) => {
      const list = this.#waiting.get(client) ?? []
      list.push({ task: { ...task, id: ++this.#last } as PasswordTask, done })
      this.#waiting.set(client, list)
      this.#count++
      if (this.#running === undefined) this.#next()
    })
  }

  #next(): void {
    const [first] = this.#waiting
    if (first === undefined) return
    const [client, list] = first
    const next = list.shift() as Waiting
    this.#waiting.delete(client)
    if (list.length > 0) this.#waiting.set(client, list)
    this.#count--
    this.#running = next
    this.#thread().postMessage(next.task)
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker
    const worker = new Worker(new URL(PROGRAM), { execArgv: [], stdin: false })
    worker.unref()
    worker.on('message', ({ id, value }: PasswordResult) => {
      if (this.#running?.task.id === id) this.#end(value)
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
    if (this.#running === undefined) this.#next()
  }
}

type DistributiveOmit<Type, Key extends keyof never> = Type extends unknown ? Omit<Type, Key> : never
