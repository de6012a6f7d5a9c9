import { readFileSync } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'

/** The disk of a file system, open for reading. */
export class BlockDevice {
  readonly #file: FileHandle

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** Opens the disk with this device number; undefined if there is none, or this process may not read it. */
  static async open(major: number, minor: number): Promise<BlockDevice | undefined> {
    let file: FileHandle | undefined
    try {
      const event = await readFile(`/sys/dev/block/${major}:${minor}/uevent`, 'utf8')
      const name = /^DEVNAME=(\S+)$/m.exec(event)?.[1]
      if (name === undefined) return undefined
      file = await open(`/dev/${name}`, 'r')
      const stat = await file.stat({ bigint: true })
      if (stat.isBlockDevice() && numberOf(stat.rdev) === `${major}:${minor}`) return new BlockDevice(file)
    } catch (error) {
      if (!isSystemError(error)) throw error
    }
    await file?.close()
    return undefined
  }

  /** Reads from `position`; returns fewer than `length` bytes at the end. @throws EIO */
  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.alloc(length)
    let filled = 0
    while (filled < length) {
      const { bytesRead } = await this.#file.read(bytes, filled, length - filled, position + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return bytes.subarray(0, filled)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/** An id that changes with every boot of the machine; empty if it cannot be read. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch (error) {
    if (isSystemError(error)) return ''
    throw error
  }
}

/** Encodes a device number, splitting it like `gnu_dev_major` and `gnu_dev_minor`. */
function numberOf(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}
