import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OptionError } from '../overlay-core/index.ts'
import type { Journal } from '../protocols/webdav/index.ts'
import { statePath } from './state-path.ts'

const FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW

/** The path of the lock journal for the overlay with this UUID and upper. No two servers use the same upper at the same time. */
export function lockJournalPath(stateDir: string, overlay: { uuid: Uint8Array }, upperdir: string): string {
  return statePath(stateDir, 'webdav-locks', [overlay.uuid, upperdir])
}

/** A journal in its own file with mode 0600. Never blocks the event loop. */
export class JournalFile implements Journal {
  readonly lines: readonly string[]
  readonly #path: string
  #file: FileHandle

  private constructor(path: string, file: FileHandle, lines: readonly string[]) {
    this.#path = path
    this.#file = file
    this.lines = lines
  }

  /** Opens the file and creates it and its directory if missing. @throws OptionError naming --state-dir */
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

  /** Closes the file. Call it after the last write. */
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
