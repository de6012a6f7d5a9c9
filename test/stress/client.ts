import type { LockRank } from '../../overlay-core/base/lock.ts'
import { FileType, type Inode, isErrno, type Overlay } from '../../overlay-core/index.ts'
import type { LockOrder } from './lock-order.ts'
import { attributesOf, type Id, newDirectory, newFile, type Operation, type Result } from './model.ts'
import type { Call } from './serial.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
const VALUE_BYTES = 8

export const idOf = ({ key, generation }: Inode): Id => `${key}.${generation}`

/** A walk through a directory, in steps of a few names, between two moments. */
export interface Listing {
  readonly dir: Id
  readonly names: readonly string[]
  readonly began: number
  readonly ended: number
}

/** Does operations on the core by handles, and keeps their history. */
export class Client {
  readonly overlay: Overlay
  readonly inodes = new Map<Id, Inode>()
  readonly history: Call[] = []
  readonly listings: Listing[] = []
  /** Told of each operation before it begins and after it has ended. */
  readonly #locks: LockOrder | undefined
  #clock = 0

  constructor(overlay: Overlay, locks: LockOrder | undefined) {
    this.overlay = overlay
    this.#locks = locks
    this.inodes.set(idOf(overlay.root), overlay.root)
  }

  async perform(operation: Operation): Promise<Result> {
    const began = this.#clock++
    const what = `${JSON.stringify(operation)} #${began}`
    const moments = { shape: began, directory: began, copy: began, node: began }
    const locked = (rank: LockRank) => {
      moments[rank] = this.#clock++
    }
    const work = () => this.#answer(operation)
    const result = await (this.#locks ? this.#locks.observe({ what, locked }, work) : work())
    const effective = 'dir' in operation ? moments.directory : moments.node
    this.history.push({ operation, began, effective, ended: this.#clock++, result })
    return result
  }

  /** Reads a directory two names at a time. */
  async list(dir: Id): Promise<void> {
    const began = this.#clock++
    const names: string[] = []
    const walk = async () => {
      let cookie = 0
      for (let done = false; !done; ) {
        let taken = 0
        done = await this.overlay.readdir(ROOT, this.#inode(dir), cookie, (entry) => {
          if (taken++ === 2) return false
          cookie = entry.cookie
          return names.push(entry.name) > 0
        })
      }
    }
    try {
      const call = { what: `list ${dir} #${began}`, locked: () => undefined }
      await (this.#locks ? this.#locks.observe(call, walk) : walk())
    } catch (error) {
      if (isErrno(error, 'ESTALE')) return
      throw error
    }
    this.listings.push({ dir, names, began, ended: this.#clock++ })
  }

  async #answer(operation: Operation): Promise<Result> {
    try {
      return await this.#make(operation)
    } catch (error) {
      if (isErrno(error)) return error.code
      throw error
    }
  }

  async #make(operation: Operation): Promise<Result> {
    const { overlay } = this
    switch (operation.op) {
      case 'lookup': {
        const found = await overlay.lookup(ROOT, this.#inode(operation.dir), operation.name)
        return found ? this.#remember(found) : 'none'
      }
      case 'create':
        return this.#remember(await overlay.create(ROOT, this.#inode(operation.dir), operation.name, { mode: 0o644 }))
      case 'mkdir':
        return this.#remember(await overlay.mkdir(ROOT, this.#inode(operation.dir), operation.name, { mode: 0o755 }))
      case 'put':
        return await this.#put(operation)
      case 'unlink':
        await overlay.unlink(ROOT, this.#inode(operation.dir), operation.name)
        return 'ok'
      case 'rmdir':
        await overlay.rmdir(ROOT, this.#inode(operation.dir), operation.name)
        return 'ok'
      case 'link':
        await overlay.link(ROOT, this.#inode(operation.object), this.#inode(operation.dir), operation.name)
        return 'ok'
      case 'rename':
        return await this.#rename(operation)
      default:
        return await this.#onObject(operation, this.#inode(operation.object))
    }
  }

  async #put({ dir, name, value }: Operation & { op: 'put' }): Promise<Result> {
    const staged = await this.overlay.stage(ROOT)
    try {
      await staged.append([Buffer.from(value)])
      return this.#remember(await staged.publish({ dir: this.#inode(dir), name, mode: 0o640 }))
    } finally {
      await staged.discard()
    }
  }

  async #rename({ dir, name, toDir, toName, how }: Operation & { op: 'rename' }): Promise<Result> {
    const options = { noReplace: how === 'noReplace', exchange: how === 'exchange' }
    await this.overlay.rename(ROOT, this.#inode(dir), name, this.#inode(toDir), toName, options)
    return 'ok'
  }

  async #onObject(operation: Operation & { object: Id }, inode: Inode): Promise<Result> {
    const { overlay } = this
    if (operation.op === 'chmod') await overlay.setattr(ROOT, inode, { mode: operation.mode })
    else if (operation.op === 'write') await overlay.write(ROOT, inode, Buffer.from(operation.value), 0, 'unstable')
    else if (operation.op === 'read') {
      const buffer = Buffer.alloc(VALUE_BYTES)
      return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, VALUE_BYTES, 0))
    } else {
      const { type, mode, nlink } = await overlay.getattr(inode)
      if (type === FileType.directory) return attributesOf({ ...newDirectory(mode, undefined), links: 1 })
      return attributesOf({ ...newFile(mode, ''), links: nlink })
    }
    return 'ok'
  }

  #remember(inode: Inode): Id {
    const id = idOf(inode)
    this.inodes.set(id, inode)
    return id
  }

  #inode(id: Id): Inode {
    return this.inodes.get(id) as Inode
  }
}
