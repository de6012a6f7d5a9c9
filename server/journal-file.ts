import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OptionError } from '../overlay-core/index.ts'
import type { Journal } from '../protocols/webdav/index.ts'
import { statePath } from './state-path.ts'

const FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW

/** Where the locks of the overlay with this identity and upper are kept: no two servers ever have the same upper at a time. */
export function lockJournalPath(stateDir: string, overlay: { uuid: Uint8Array }, upperdir: string): string {
  return statePath(stateDir, 'webdav-locks', [overlay.uuid, upperdir])
}

/** A journal in a file of its own, mode 0600. Never waits on the event loop. */
export class JournalFile implements Journal {
  readonly lines: readonly string[]
  readonly #path: string
  #file: FileHandle

  private constructor(path: string, file: FileHandle, lines: readonly string[]) {
    this.#path = path
    this.#file = file
    this.lines = lines
  }

  /** Opens the file, making it and its directory when missing. @throws OptionError naming --state-dir */
  static async open(path: string): Promise<JournalFile> {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      const file = await open(path, FLAGS, 0o600)
      await syncDirectory(dirname(path))
      const text = await file.readFile('utf8')
      return new JournalFile(
        path,
        file,
        text.split('\n').filter((line) => line !== ''),
      )
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new OptionError('--state-dir', `cannot use ${path} (${code ?? String(error)}); choose another directory`)
    }
  }

  async append(text: string): Promise<void> {
    await this.#file.appendFile(text)
    await this.#file.datasync()
  }

  async replace(pieces: AsyncIterable<string>): Promise<void> {
    const aside = `${this.#path}.new`
    await rm(aside, { force: true })
    const fresh = await open(aside, FLAGS | constants.O_EXCL, 0o600)
    try {
      for await (const piece of pieces) await fresh.appendFile(piece)
      await fresh.sync()
      await rename(aside, this.#path)
    } catch (error) {
      await fresh.close()
      throw error
    }
    const old = this.#file
    this.#file = fresh
    await old.close()
    await syncDirectory(dirname(this.#path))
  }

  /** To be called when nothing is written any more. */
  async close(): Promise<void> {
    await this.#file.close()
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
