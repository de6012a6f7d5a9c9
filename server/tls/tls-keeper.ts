import type { Logger } from 'pino'
import type { TlsSettings } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import { fileStamp } from '../file-stamp.ts'
import { readCredentials, type TlsCredentials } from './credentials.ts'
import { type HandshakeOptions, Handshakes } from './handshakes.ts'

/** How often the files are looked at. A revoked certificate must lose its connections within a second. */
const LOOK_MS = 400

/** What the keeper takes from its surroundings. */
export interface TlsSurroundings {
  readonly log: Logger
  readonly wallNow: () => number
  /** Makes a certificate for `--tls self-signed`. */
  readonly selfSigned: () => Promise<{ readonly cert: string; readonly key: string }>
}

/** The certificates of a running server: one for all listeners. Files that change are read again; files with an error change nothing. */
export class TlsKeeper {
  readonly settings: TlsSettings
  readonly #surroundings: TlsSurroundings
  readonly #listeners: Handshakes[] = []
  #credentials: TlsCredentials
  #seen: string
  #timer: NodeJS.Timeout | undefined
  #looking = false

  private constructor(settings: TlsSettings, surroundings: TlsSurroundings, credentials: TlsCredentials, seen: string) {
    this.settings = settings
    this.#surroundings = surroundings
    this.#credentials = credentials
    this.#seen = seen
  }

  /** Reads and checks all files. @throws OptionError */
  static async open(settings: TlsSettings, surroundings: TlsSurroundings): Promise<TlsKeeper> {
    // Before they are read: what changes in between is read again.
    const seen = await stampOf(settings)
    const credentials = await readCredentials(settings, surroundings.wallNow(), surroundings.selfSigned)
    return new TlsKeeper(settings, surroundings, credentials, seen)
  }

  get credentials(): TlsCredentials {
    return this.#credentials
  }

  /** Encryption for one more listener. */
  listener(options: Omit<HandshakeOptions, 'credentials' | 'clients' | 'wallNow'>): Handshakes {
    const { wallNow } = this.#surroundings
    const handshakes = new Handshakes({
      ...options,
      wallNow,
      credentials: this.#credentials,
      clients: this.settings.clients,
    })
    this.#listeners.push(handshakes)
    return handshakes
  }

  /** Looks at the files from now on. */
  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const listener of this.#listeners) listener.close()
  }

  /** Reads the files again if they have changed. Never rejects. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      for (const listener of this.#listeners) listener.endExpired()
      const seen = await stampOf(this.settings)
      if (seen !== this.#seen) await this.#read(seen)
    } finally {
      this.#looking = false
    }
  }

  async #read(seen: string): Promise<void> {
    const { log, wallNow } = this.#surroundings
    this.#seen = seen
    try {
      // A certificate that was made for this run stays.
      const made = { cert: this.#credentials.cert, key: this.#credentials.key }
      const credentials = await readCredentials(this.settings, wallNow(), async () => made)
      for (const listener of this.#listeners) listener.use(credentials)
      this.#credentials = credentials
      const { fingerprint256, validTo } = credentials.own
      log.warn(
        { fingerprint: fingerprint256, validTo, revoked: credentials.revocations.size },
        'the TLS certificates were read again',
      )
      for (const warning of credentials.warnings) log.warn(warning)
    } catch (error) {
      const why = error instanceof OptionError ? error.message : error
      log.error({ why }, 'the TLS files have changed and cannot be used: the earlier certificates stay in use')
    }
  }
}

/** Changes whenever one of the files does. */
async function stampOf({ own, clientCa, revoked }: TlsSettings): Promise<string> {
  const paths = [...(own === 'self-signed' ? [] : [own.certificate, own.key]), clientCa, revoked]
  const stamps = await Promise.all(paths.filter((path) => path !== undefined).map(stampOfFile))
  return stamps.join('\n')
}

async function stampOfFile(path: string): Promise<string> {
  try {
    return await fileStamp(path)
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
