import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cred, type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import type { MountEnvironment } from '../../../overlay-core/mount/mount.ts'
import * as native from '../../differential/native.ts'

export const ROOT: Cred = { uid: 0, gid: 0, groups: [] }

/** An overlay of the kernel and one of the core over the same lowers, each with an upper of its own. */
export interface World {
  readonly lowers: readonly string[]
  /** Where the kernel's overlay is mounted. */
  readonly mountPoint: string
  readonly overlay: Overlay
  readonly root: Inode
  /** Mounts both anew over empty uppers. */
  fresh(): Promise<void>
  cleanUp(): Promise<void>
}

const OPTIONS = 'redirect_dir=on,index=on,xino=on'

/** Makes `count` empty lowers below `dir` and lets `fill` put something in them, then mounts. */
export async function makeWorld(
  dir: string,
  count: number,
  fill: (lowers: readonly string[]) => void,
  environment: Partial<MountEnvironment> = {},
): Promise<World> {
  const lowers = Array.from({ length: count }, (_, i) => join(dir, `lower${i}`))
  for (const lower of lowers) mkdirSync(lower, { recursive: true })
  fill(lowers)
  const world = new BothOverlays(dir, lowers, environment)
  await world.open()
  return world
}

class BothOverlays implements World {
  readonly lowers: readonly string[]
  readonly mountPoint: string
  readonly #dir: string
  readonly #environment: Partial<MountEnvironment>
  #overlay: Overlay | undefined

  constructor(dir: string, lowers: readonly string[], environment: Partial<MountEnvironment>) {
    this.#dir = dir
    this.#environment = environment
    this.lowers = lowers
    this.mountPoint = join(dir, 'kernel')
  }

  get overlay(): Overlay {
    return this.#overlay as Overlay
  }

  get root(): Inode {
    return this.overlay.root
  }

  async open(): Promise<void> {
    const layers = (side: string) => {
      for (const part of ['upper', 'work']) mkdirSync(join(this.#dir, side, part), { recursive: true })
      return `lowerdir=${this.lowers.join(':')},upperdir=${this.#dir}/${side}/upper,workdir=${this.#dir}/${side}/work`
    }
    mkdirSync(this.mountPoint, { recursive: true })
    native.mount('overlay', this.mountPoint, 'overlay', 0, `${layers('for-kernel')},${OPTIONS}`)
    this.#overlay = await mount(parseOptions(`${layers('for-core')},${OPTIONS}`), this.#environment)
  }

  async #close(): Promise<void> {
    await this.#overlay?.unmount()
    this.#overlay = undefined
    native.umount(this.mountPoint)
  }

  async fresh(): Promise<void> {
    await this.#close()
    for (const side of ['for-kernel', 'for-core']) rmSync(join(this.#dir, side), { recursive: true, force: true })
    await this.open()
  }

  async cleanUp(): Promise<void> {
    await this.#close()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** The name of the i-th file of a workload. */
export function nameOf(i: number): string {
  return `file-${String(i).padStart(7, '0')}`
}

/** Makes `count` files of `content` in the new directory `dir`. */
export function fillDirectory(dir: string, count: number, content: string | Uint8Array = ''): void {
  mkdirSync(dir, { recursive: true })
  for (let i = 0; i < count; i++) writeFileSync(join(dir, nameOf(i)), content)
}

/** What `name` is in `dir`. @throws when it is not there */
export async function lookUp(overlay: Overlay, dir: Inode, name: string): Promise<Inode> {
  const inode = await overlay.lookup(ROOT, dir, name)
  if (!inode) throw new Error(`${name} is not there`)
  return inode
}
