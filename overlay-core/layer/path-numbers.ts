import { createHash } from 'node:crypto'
import { FileType, type Name } from '../api/types.ts'
import type { Stat } from '../sys/stat.ts'
import type { InodeNumbers, Real } from './layer.ts'

/**
 * Inode numbers by path, for objects of a lower whose own numbers mean nothing for long: those of a file system that gives new ones at every
 * mount, or as it meets its objects (FUSE, network), of one that cannot be told from another (a clone), and of what lies in a lower but on another
 * device (subvolumes, which use the same numbers).
 *
 * A file at a path is taken for the one that was there earlier when size and times are the same. Times of whole seconds are no proof of that: then it
 * must also be the same mount (`instance`).
 */
export class PathNumbers implements InodeNumbers {
  readonly #instance: number
  readonly #device: string | undefined

  /** @param device objects on this one have numbers of their own, that last; undefined when none has */
  constructor(instance: number, device?: string) {
    this.#instance = instance
    this.#device = device
  }

  stamp(dir: Real, name: Name, stat: Stat): Stat {
    if (this.#device === `${stat.devMajor}:${stat.devMinor}`) return stat
    const hash = createHash('sha256').update(pathOf(dir, name), 'latin1').digest()
    // 52 bits.
    const [inoHi, inoLo] = [hash.readUInt32LE(0) >>> 12, hash.readUInt32LE(4)]
    return { ...stat, ino: inoHi * 2 ** 32 + inoLo, inoHi, inoLo, generation: this.#generationOf(stat) }
  }

  get all(): boolean {
    return this.#device === undefined
  }

  /** A directory is what its path says. */
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

/** From the root of the layer. */
function pathOf(dir: Real, name: Name): string {
  let path = name
  for (let at = dir; at.parent; at = at.parent) path = `${at.name}/${path}`
  return path
}
