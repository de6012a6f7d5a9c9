import type { Layer } from './layer.ts'
import type { Stat } from './sys/stat.ts'

/** Inode numbers below this are used as they are in keys; file system numbers go above. */
const FS_STEP = 2 ** 48

/** What identifies an object of the overlay; see `Inode.key`. */
export interface Identity {
  readonly key: number
  readonly generation: number
  readonly fileIdHi: number
  readonly fileIdLo: number
}

/**
 * Gives objects their identity: made of the real object's file system and inode number (that of the lower it was copied up from),
 * so that it is the same after a restart. The generation comes from the creation time, as a file system reuses inode numbers.
 */
export class IdentityMap {
  /** Keys given to objects whose inode number is too large or not their own alone. */
  readonly #named = new Map<string, number>()
  #next = 2 ** 52

  /** The identity of the object with attributes `stat` on the file system of `layer`. */
  of(layer: Layer, stat: Stat): Identity {
    const hi = stat.inoHi
    const fits = hi < 0x10000
    const key = fits
      ? layer.fsIndex * FS_STEP + hi * 2 ** 32 + stat.inoLo
      : this.#keyFor(`i${layer.fsIndex}:${hi}:${stat.inoLo}`)
    return { key, generation: generationOf(stat), ...fileId(layer, stat) }
  }

  /** The identity of one name of a lower hard link that copy-up will separate (index=off). */
  ofName(layer: Layer, stat: Stat, dirKey: number, name: string): Identity {
    return { key: this.#keyFor(`n${dirKey}/${name}`), generation: generationOf(stat), ...fileId(layer, stat) }
  }

  #keyFor(text: string): number {
    let key = this.#named.get(text)
    if (key === undefined) {
      key = this.#next++
      this.#named.set(text, key)
    }
    return key
  }
}

/** The file id: the real inode number, with the number of the file system in the top 8 bits when they are free (xino). */
export function fileId(layer: Layer, stat: { inoHi: number; inoLo: number }): { fileIdHi: number; fileIdLo: number } {
  const hi = stat.inoHi < 0x1000000 ? stat.inoHi + layer.fsIndex * 0x1000000 : stat.inoHi
  return { fileIdHi: hi >>> 0, fileIdLo: stat.inoLo }
}

function generationOf(stat: Stat): number {
  if (!stat.btime) return 1
  return (Math.imul(stat.btime.sec | 0, 0x9e3779b1) ^ stat.btime.nsec) >>> 0
}
