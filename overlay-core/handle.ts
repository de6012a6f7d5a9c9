import type { DentryCache } from './dcache.ts'
import type { OvlInode } from './dentry.ts'
import { OverlayError } from './errno.ts'
import type { Maybe, Name } from './types.ts'

interface Found {
  readonly generation: number
  readonly dirKey: number
  readonly name: Name
}

/** Looks a name up in a directory, whoever asks; part of the super block. */
type Lookup = (dir: OvlInode, name: Name) => Maybe<OvlInode | undefined>

/**
 * From an object's identity back to the object, also after it was dropped from the caches: for every object that was ever seen, where
 * it was last found. An object that is not there any more, or whose generation differs, is gone (ESTALE).
 */
export class HandleTable {
  readonly #dcache: DentryCache
  readonly #lookup: Lookup
  readonly #records = new Map<number, Found>()

  constructor(dcache: DentryCache, lookup: Lookup) {
    this.#dcache = dcache
    this.#lookup = lookup
  }

  get size(): number {
    return this.#records.size
  }

  /** Notes where `inode` is found now. */
  remember(inode: OvlInode): void {
    const alias = inode.aliases[0]
    if (!alias) return
    const known = this.#records.get(inode.key)
    if (known && known.generation === inode.generation && known.dirKey === alias.dir.key && known.name === alias.name)
      return
    this.#records.set(inode.key, { generation: inode.generation, dirKey: alias.dir.key, name: alias.name })
  }

  /** The object is gone for good. */
  forget(inode: OvlInode): void {
    if (this.#records.get(inode.key)?.generation === inode.generation) this.#records.delete(inode.key)
  }

  /** @throws ESTALE */
  find(key: number, generation: number): Maybe<OvlInode> {
    const inode = this.#dcache.inode(key)
    if (inode) {
      if (inode.generation === generation) return inode
      throw new OverlayError('ESTALE', 'handle')
    }
    return this.#findAgain(key, generation)
  }

  async #findAgain(key: number, generation: number): Promise<OvlInode> {
    const chain: Found[] = []
    let dir: OvlInode | undefined
    for (let at = key; dir === undefined; ) {
      const record = this.#records.get(at)
      if (!record || (at === key && record.generation !== generation)) throw new OverlayError('ESTALE', 'handle')
      chain.push(record)
      at = record.dirKey
      dir = this.#dcache.inode(at)
    }
    for (let record = chain.pop(); record; record = chain.pop()) {
      const found: OvlInode | undefined = await this.#lookup(dir, record.name)
      if (!found || found.generation !== record.generation) throw new OverlayError('ESTALE', 'handle')
      dir = found
    }
    if (dir.key !== key) throw new OverlayError('ESTALE', 'handle')
    return dir
  }
}
