import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Cred,
  FileType,
  type Inode,
  mount,
  type Overlay,
  openStack,
  parseOptions,
  type Stack,
} from '../../../overlay-core/index.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const CHANGE = Buffer.from('changed\n')

/** Many overlays on one stack, each in a directory of its own. */
export class Views {
  /** Contains the directories of all views. */
  readonly dir: string
  readonly #lower: string
  readonly #stack: Stack
  readonly #open = new Map<number, Overlay>()

  private constructor(dir: string, lower: string, stack: Stack) {
    this.dir = dir
    this.#lower = lower
    this.#stack = stack
  }

  static async over(lower: string, dir: string): Promise<Views> {
    return new Views(dir, lower, await openStack(parseOptions(`lowerdir=${lower}`)))
  }

  /** Creates the directories of view `i` and opens it. */
  async make(i: number): Promise<void> {
    const own = this.#of(i)
    await mkdir(own)
    await mkdir(join(own, 'upper'))
    await mkdir(join(own, 'work'))
    await this.open(i)
  }

  async open(i: number): Promise<void> {
    const own = this.#of(i)
    const options = parseOptions(`lowerdir=${this.#lower},upperdir=${own}/upper,workdir=${own}/work`)
    this.#open.set(i, await mount(options, { stack: this.#stack, claimed: true }))
  }

  async close(i: number): Promise<void> {
    await this.#open.get(i)?.unmount({ sync: false })
    this.#open.delete(i)
  }

  async closeAll(): Promise<void> {
    for (const i of [...this.#open.keys()]) await this.close(i)
    await this.#stack.close()
  }

  /** Looks up the files `paths` in view `i` with their attributes, and overwrites the first one. */
  async use(i: number, paths: readonly string[]): Promise<void> {
    const overlay = this.#open.get(i) as Overlay
    const found: Inode[] = []
    for (const path of paths) found.push(await lookUp(overlay, path))
    await overlay.write(ROOT, found[0] as Inode, CHANGE, 0, 'unstable')
  }

  /** Looks up every name in view `i` with its attributes; returns the number of names. */
  async walk(i: number): Promise<number> {
    const overlay = this.#open.get(i) as Overlay
    return await walkBelow(overlay, overlay.root)
  }

  #of(i: number): string {
    return join(this.dir, `view-${i}`)
  }
}

async function lookUp(overlay: Overlay, path: string): Promise<Inode> {
  let inode = overlay.root
  for (const name of path.split('/')) {
    const next = await overlay.lookup(ROOT, inode, name)
    if (!next) throw new Error(`${path} is not there`)
    inode = next
  }
  await overlay.getattr(inode)
  return inode
}

async function walkBelow(overlay: Overlay, dir: Inode): Promise<number> {
  const names: string[] = []
  await overlay.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
  let count = names.length
  for (const name of names) {
    const inode = (await overlay.lookup(ROOT, dir, name)) as Inode
    await overlay.getattr(inode)
    if (inode.type === FileType.directory) count += await walkBelow(overlay, inode)
  }
  return count
}
