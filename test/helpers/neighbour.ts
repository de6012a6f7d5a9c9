import { mkdirSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Test } from 'tap'
import {
  FileType,
  type Inode,
  type MountOptions,
  mount,
  type Overlay,
  OverlayError,
  openStack,
  openStackMemory,
  type Stack,
  type StackMemory,
} from '../../overlay-core/index.ts'
import type { MountEnvironment } from '../../overlay-core/mount/mount.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }

/** Another overlay over the same lowers, on a stack. It has looked at everything, and must never see a change of the other. */
export class Neighbour {
  readonly stack: Stack
  readonly #memory: StackMemory
  readonly #overlay: Overlay
  readonly #seen: readonly string[]
  #ending = false
  #looking: Promise<void> | undefined

  private constructor(stack: Stack, memory: StackMemory, overlay: Overlay, seen: readonly string[]) {
    this.stack = stack
    this.#memory = memory
    this.#overlay = overlay
    this.#seen = seen
  }

  /** Mounts it beside the overlay of `options`. */
  static async of(options: MountOptions, environment: Partial<MountEnvironment> = {}): Promise<Neighbour> {
    const directory = `${options.workdir}-of-neighbour/memory`
    mkdirSync(directory, { recursive: true })
    const memory = await openStackMemory(directory)
    const stack = await openStack(options, { memory })
    try {
      const [upperdir, workdir] = ['upper', 'work'].map((part) => `${options.workdir}-of-neighbour/${part}`)
      for (const dir of [upperdir, workdir]) mkdirSync(dir as string, { recursive: true })
      const overlay = await mount({ ...options, upperdir, workdir }, { ...environment, stack })
      return new Neighbour(stack, memory, overlay, await treeOf(overlay))
    } catch (error) {
      await stack.close()
      await memory.close()
      throw error
    }
  }

  /** Whether an overlay with `options` can be on the same stack. */
  shares({ lowerdir, datadir, revalidate }: MountOptions): boolean {
    const own = this.#overlay.options
    const lowers = (options: Pick<MountOptions, 'lowerdir' | 'datadir'>) => `${options.lowerdir} ${options.datadir}`
    return lowers({ lowerdir, datadir }) === lowers(own) && revalidate === own.revalidate
  }

  async check(t: Test): Promise<void> {
    t.same(await treeOf(this.#overlay), this.#seen, 'another overlay on the stack sees no change')
  }

  /** Looks at everything again and again. */
  keepLooking(): void {
    this.#looking = this.#look()
  }

  async #look(): Promise<void> {
    while (!this.#ending) {
      try {
        await treeOf(this.#overlay)
      } catch (error) {
        if (!(error instanceof OverlayError)) throw error
      }
      await nextTurn()
    }
  }

  async end(): Promise<void> {
    this.#ending = true
    await this.#looking
    await this.#overlay.unmount()
    await this.stack.close()
    await this.#memory.close()
  }
}

/** A line for each object below `dir`, with all that clients see of it; its access time may change when it is copied. */
export async function treeOf(overlay: Overlay, dir: Inode = overlay.root, path = ''): Promise<string[]> {
  const lines: string[] = []
  const names: string[] = []
  await overlay.readdir(ROOT, dir, 0, ({ name, cookie, type, fileIdHi, fileIdLo }) => {
    lines.push(`${path}/${name} ${cookie} ${type} ${fileIdHi}:${fileIdLo}`)
    return names.push(name) > 0
  })
  for (const name of names) lines.push(...(await below(overlay, dir, path, name)))
  return lines
}

async function below(overlay: Overlay, dir: Inode, path: string, name: string): Promise<string[]> {
  let inode: Inode | undefined
  try {
    inode = await overlay.lookup(ROOT, dir, name)
  } catch (error) {
    return [`${path}/${name} ${(error as Error).message}`]
  }
  if (!inode) return [`${path}/${name} is absent`]
  const { atime, ...attr } = { ...(await attrOf(overlay, inode)) }
  const line = `${path}/${name} ${inode.key} ${inode.generation} ${JSON.stringify(attr)}`
  return inode.type === FileType.directory ? [line, ...(await treeOf(overlay, inode, `${path}/${name}`))] : [line]
}

async function attrOf(overlay: Overlay, inode: Inode) {
  const { type, mode, nlink, uid, gid, size, blocks, fileIdHi, fileIdLo, atime, mtime, ctime, btime } =
    await overlay.getattr(inode)
  return { type, mode, nlink, uid, gid, size, blocks, fileIdHi, fileIdLo, atime, mtime, ctime, btime }
}
