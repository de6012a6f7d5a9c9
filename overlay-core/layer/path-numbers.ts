import { createHash } from 'node:crypto'
import { FileType, type Name } from '../api/types.ts'
import type { Stat } from '../sys/stat.ts'
import type { InodeNumbers, Real } from './layer.ts'

/**
 * Inode numbers derived from paths, for objects of a lower whose own numbers are not stable or not unique: on file systems that assign new numbers
 * at every mount or on first access (FUSE, network), on one that cannot be distinguished from another (a clone), and on other devices
 * inside a lower (subvolumes, which use the same numbers).
 *
 * A file at a path counts as the earlier one if its size and times are the same. Times in whole seconds are not reliable, so in that case the
 * mount (`instance`) must be the same too.
 */
export class PathNumbers implements InodeNumbers {
  readonly #instance: number
  readonly #device: string | undefined

  /** @param device objects on this device have stable numbers of their own; undefined if none do */
  constructor(instance: number, device?: string) {
    this.#instance = instance
    this.#device = device
  }

  withStableNumber(dir: Real, name: Name, stat: Stat): Stat {
    if (this.#device === `${stat.devMajor}:${stat.devMinor}`) return stat
    const hash = createHash('sha256').update(pathOf(dir, name), 'latin1').digest()
    // The number has 52 bits.
    const [inoHi, inoLo] = [hash.readUInt32LE(0) >>> 12, hash.readUInt32LE(4)]
    return { ...stat, ino: inoHi * 2 ** 32 + inoLo, inoHi, inoLo, generation: this.#generationOf(stat) }
  }

  get all(): boolean {
    return this.#device === undefined
  }

  /** The same text for all that give the same numbers. */
  get key(): string {
    return `${this.#instance} ${this.#device}`
  }

  /** A directory is identified by its path alone. */
  #generationOf({ type, size, mtime, btime }: Stat): number {
    if (type === FileType.directory) return 1
    const times = [mtime, btime].map((time) => `${time?.sec}.${time?.nsec}`)
    const instance = mtime.nsec === 0 ? this.#instance : 0
    const hash = createHash('sha256')
      .update(`${type}:${size}:${times.join(':')}:${instance}`)
      .digest()
    return hash.readUInt32LE(0)
  }
}

/** The path from the root of the layer. */
function pathOf(dir: Real, name: Name): string {
  let path = name
  for (let at = dir; at.parent; at = at.parent) path = `${at.name}/${path}`
  return path
}
