import { type Cred, FileType, type Inode, type Overlay, OverlayError } from '../../overlay-core/index.ts'
import { CoreView } from '../differential/core-view.ts'
import { nameOf, type Path, parentOf } from '../differential/view.ts'

export const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
export const ALICE: Cred = { uid: 1000, gid: 2000, groups: [] }

/** What a step does with the overlay. */
export type Step = (actor: Actor) => Promise<void>

/** Operations on the layers of `layers.ts`, each of which has to be seen as a whole or not at all. */
export interface Scenario {
  readonly name: string
  /** Mount options besides the layers. */
  readonly options?: string
  /** What comes before, undisturbed. */
  readonly setup?: Step
  readonly steps: readonly Step[]
  /** What may also be seen when step `i` was cut off: the state after these steps in its stead. */
  readonly between?: Readonly<Record<number, readonly Step[]>>
  /** Differences that a cut off step may leave, as in the kernel; each needs its reason where it is set. */
  readonly tolerates?: RegExp
  /** The mount itself is disturbed too: the first one of this upper, or one after the setup. */
  readonly mounts?: 'first' | 'again'
  /** Changes the layers in `dir` just before the mount that is disturbed. */
  readonly prepare?: (dir: string) => Promise<void>
}

/** A client of the core that works by paths. */
export class Actor {
  readonly overlay: Overlay
  readonly view: CoreView
  /** Notes what must hold from now on, whatever happens: that the object's handle leads to it. */
  readonly promised: (key: number, generation: number) => void

  constructor(overlay: Overlay, promised: (key: number, generation: number) => void) {
    this.overlay = overlay
    this.view = new CoreView(overlay)
    this.promised = promised
  }

  async at(path: Path): Promise<Inode> {
    let inode = this.overlay.root
    for (const name of path.split('/').filter((part) => part !== '')) {
      const next = await this.overlay.lookup(ROOT, inode, name)
      if (!next) throw new OverlayError('ENOENT', 'lookup', name)
      inode = next
    }
    return inode
  }

  async create(path: Path, content = '', cred = ROOT): Promise<void> {
    const inode = await this.overlay.create(cred, await this.at(parentOf(path)), nameOf(path), { mode: 0o644 })
    if (content !== '') await this.overlay.write(cred, inode, Buffer.from(content), 0, 'file')
  }

  async write(path: Path, content: string, position = 0): Promise<void> {
    await this.overlay.write(ROOT, await this.at(path), Buffer.from(content), position, 'file')
  }

  async put(path: Path, content: string, durable = true): Promise<void> {
    const dir = await this.at(parentOf(path))
    const staged = await this.overlay.stage(ROOT)
    await staged.append([Buffer.from(content)])
    await staged.publish({ dir, name: nameOf(path), mode: 0o640, durable })
  }

  /** Puts content into a file and all of its names. */
  async putInto(path: Path, content: string): Promise<void> {
    const dir = await this.at(parentOf(path))
    const staged = await this.overlay.stage(ROOT)
    await staged.append([Buffer.from(content)])
    await staged.publish({ dir, name: nameOf(path), mode: 0o640, keepLinks: true })
  }

  async mkdir(path: Path, mode = 0o755): Promise<void> {
    await this.view.mkdir(ROOT, path, mode)
  }

  async unlink(...paths: Path[]): Promise<void> {
    for (const path of paths) await this.view.unlink(ROOT, path)
  }

  async rmdir(path: Path): Promise<void> {
    await this.view.rmdir(ROOT, path)
  }

  async rename(from: Path, to: Path, how: 'replace' | 'noReplace' | 'exchange' = 'replace'): Promise<void> {
    await this.view.rename(ROOT, from, to, how)
  }

  async link(from: Path, to: Path): Promise<void> {
    await this.view.link(ROOT, from, to)
  }

  async chmod(path: Path, mode: number): Promise<void> {
    await this.view.setattr(ROOT, path, { mode })
  }

  /** Removes everything in a directory, and it. */
  async removeTree(path: Path): Promise<void> {
    for (const { name, type } of await this.view.readdir(ROOT, path)) {
      if (type === FileType.directory) await this.removeTree(`${path}/${name}`)
      else await this.unlink(`${path}/${name}`)
    }
    await this.rmdir(path)
  }
}
