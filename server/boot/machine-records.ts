import type { Logger } from 'pino'
import type { MachineSettings } from '../../config/index.ts'
import type { Journal } from '../../overlay-core/index.ts'
import type { SshHostKey } from './ssh-host-key.ts'

/** Which view a machine has at which address. */
export interface Lease {
  readonly view: string
  readonly address: string
}

/** What the server keeps of a machine. */
export interface MachineRecord {
  readonly name: string
  /** 32 hexadecimal digits, as in machine-id(5). */
  readonly machineId?: string | undefined
  readonly sshKey?: SshHostKey | undefined
  readonly lease?: Lease | undefined
  /** When it booted last, in ms since the epoch. */
  readonly bootedMs?: number | undefined
  /** The kernel that it booted last, as its path in the view. */
  readonly kernel?: string | undefined
  /** Whether it stays on the version of its image. */
  readonly pinned?: boolean | undefined
  /** Set if `overlayd machine approve` added it to the list. */
  readonly approved?: MachineSettings | undefined
}

type Line = { readonly put: MachineRecord } | { readonly forget: string }

/** The maximum number of machines. */
export const MOST_MACHINES = 20_000

/** What is kept of all machines, in a journal of the state directory. Only the user of the server can read it. */
export class MachineRecords {
  readonly #journal: Journal
  readonly #most: number
  readonly #records = new Map<string, MachineRecord>()

  constructor(journal: Journal, log: Logger, most: number = MOST_MACHINES) {
    this.#journal = journal
    this.#most = most
    for (const text of journal.takeRecords()) {
      const line = JSON.parse(text) as Line
      if ('put' in line) this.#records.set(line.put.name, line.put)
      else this.#records.delete(line.forget)
    }
    journal.keepShort({
      count: () => this.#records.size,
      records: () => this.#live(),
      failed: (error) => log.warn({ err: error }, 'cannot shorten the file of machines, which goes on growing'),
    })
  }

  *#live(): Iterable<string> {
    for (const put of this.#records.values()) yield JSON.stringify({ put })
  }

  get(name: string): MachineRecord | undefined {
    return this.#records.get(name)
  }

  list(): Iterable<MachineRecord> {
    return this.#records.values()
  }

  /** Whether there is room for one more. */
  get isFull(): boolean {
    return this.#records.size >= this.#most
  }

  /** Changes what is kept of a machine. It is durable when it resolves. @throws Error it cannot be kept */
  async change(name: string, change: Omit<MachineRecord, 'name'>): Promise<MachineRecord> {
    const put: MachineRecord = { ...this.#records.get(name), ...change, name }
    // In memory first, so that changes at the same time do not undo each other.
    this.#records.set(name, put)
    await this.#journal.append(JSON.stringify({ put } satisfies Line))
    return put
  }

  /** Forgets a machine. It is durable when it resolves. */
  async forget(name: string): Promise<void> {
    this.#records.delete(name)
    await this.#journal.append(JSON.stringify({ forget: name } satisfies Line))
  }
}
