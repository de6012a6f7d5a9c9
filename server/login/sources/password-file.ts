import { hash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import type { Logger } from 'pino'
import { TooManyWaiting } from '../../../overlay-core/index.ts'
import { fileStamp } from '../../file-stamp.ts'
import type { Account, AccountSource, Verdict } from '../api/account.ts'
import type { PasswordThread } from '../passwords/password-thread.ts'
import { type PasswordEntry, parsePasswordFile } from './password-lines.ts'

/** How often the file is looked at for changes. */
const LOOK_MS = 1000
/** The maximum size of a password file. */
export const MOST_FILE_BYTES = 16 * 1024 * 1024
/** Checked for unknown names while the file is empty: a hash of random bytes that nobody kept. */
const NO_ENTRY = '$argon2id$v=19$m=19456,t=2,p=1$b3ZlcmxheWQtbm8tdXNlcg$Rk9kZUl3c0hXb0pOc2pTQ2tZb2l3c2NlS2FZa3d6a1E'

/** A file of names and password hashes, as htpasswd(1) writes it. It is read again when it changes. */
export class PasswordFile implements AccountSource {
  readonly kind = 'file'
  readonly #path: string
  readonly #thread: PasswordThread
  readonly #log: Logger
  readonly #timer: NodeJS.Timeout
  #entries: ReadonlyMap<string, PasswordEntry> = new Map()
  #names: readonly string[] = []
  #version: string | undefined
  #changed: () => void = () => undefined
  /** Whether the file can be read. */
  #readable = false
  #refreshing: Promise<void> | undefined

  private constructor(path: string, thread: PasswordThread, log: Logger) {
    this.#path = path
    this.#thread = thread
    this.#log = log
    this.#timer = setInterval(() => {
      if (this.#refreshing === undefined) void this.refresh()
    }, LOOK_MS).unref()
  }

  /** Whether the file can be read. */
  get readable(): boolean {
    return this.#readable
  }

  /** Reads the file. One that cannot be read lets nobody in until it can; the log says why. */
  static async open(path: string, thread: PasswordThread, log: Logger): Promise<PasswordFile> {
    const source = new PasswordFile(path, thread, log)
    await source.refresh()
    return source
  }

  async verify(name: string, secret: string, client: string): Promise<Verdict> {
    if (!this.#readable) return 'unavailable'
    const entry = this.#entries.get(name)
    try {
      const right = await this.#thread.verify(client, secret, entry?.hash ?? this.#someHash(name))
      // The file may have changed meanwhile.
      if (entry === undefined || this.#entries.get(name)?.hash !== entry.hash) return 'unknown'
      return right ? accountOf(name) : 'wrong'
    } catch (error) {
      if (error instanceof TooManyWaiting) return 'unavailable'
      throw error
    }
  }

  async lookup(name: string): Promise<Exclude<Verdict, 'wrong'>> {
    if (!this.#readable) return 'unavailable'
    return this.#entries.has(name) ? accountOf(name) : 'unknown'
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
  }

  /** Reads the file if it has changed; one at a time, so that it is read and told once. Never rejects. */
  async refresh(): Promise<void> {
    while (this.#refreshing !== undefined) await this.#refreshing
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    try {
      const version = await fileStamp(this.#path)
      if (version === this.#version) return
      const { entries, problems } = await readPasswordFile(this.#path)
      for (const problem of problems) this.#log.warn({ file: this.#path }, `${this.#path}: ${problem}`)
      this.#entries = entries
      this.#names = [...entries.keys()]
      this.#version = version
      this.#readable = true
      this.#changed()
    } catch (error) {
      if (this.#version === (error as Error).message) return
      this.#version = (error as Error).message
      this.#readable = false
      this.#entries = new Map()
      this.#changed()
      this.#log.error({ err: error }, `the password file ${this.#path} cannot be read, so nobody in it can log in`)
    }
  }

  /** The hash that is checked for an unknown name: always the same for a name, so that it takes as long as one that exists. */
  #someHash(name: string): string {
    const { length } = this.#names
    if (length === 0) return NO_ENTRY
    const at = Number.parseInt(hash('sha256', `${this.#version} ${name}`, 'hex').slice(0, 8), 16) % length
    return this.#entries.get(this.#names[at] as string)?.hash ?? NO_ENTRY
  }
}

function accountOf(name: string): Account {
  return { name, groups: [] }
}

/** Reads and parses a password file. @throws Error it cannot be read, is too large, or other users can read it */
export async function readPasswordFile(path: string): Promise<ReturnType<typeof parsePasswordFile>> {
  const file = await open(path, 'r')
  try {
    return parsePasswordFile(await readChecked(file, path))
  } finally {
    await file.close()
  }
}

async function readChecked(file: FileHandle, path: string): Promise<string> {
  const { mode, size } = await file.stat()
  if ((mode & 0o007) !== 0) throw new Error(`all users of this machine can access ${path}; run chmod o= ${path}`)
  if (size > MOST_FILE_BYTES)
    throw new Error(`${path} is larger than ${MOST_FILE_BYTES} bytes; that is no password file`)
  return await file.readFile('utf8')
}
