import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { FileType, type Inode, type Overlay, OverlayError } from '../../overlay-core/index.ts'
import type { End, LowerKind } from './lower-kinds.ts'
import { at, list, ROOT, text } from './overlay.ts'

/** What copies of one image share. */
const UUID = '0f0e0d0c-0b0a-4908-8706-050403020100'

/** Images of one kind, made when they are first asked for. */
export class Images<Tree extends string> {
  readonly #kind: LowerKind
  readonly #dir: string
  readonly #made = new Map<string, string>()

  /** @param write writes a tree into a directory that it makes */
  constructor(kind: LowerKind, dir: string, trees: readonly Tree[], write: (dir: string, tree: Tree) => void) {
    this.#kind = kind
    this.#dir = dir
    for (const tree of trees) write(join(dir, `tree-${tree}`), tree)
  }

  /** The image of a tree, with the UUID that all clones have. */
  async of(tree: Tree, cloned = false): Promise<string> {
    const name = `${tree}${cloned ? '-cloned' : ''}`
    const image = join(this.#dir, name)
    if (!this.#made.has(name)) {
      await this.#kind.make(join(this.#dir, `tree-${tree}`), image, cloned && this.#kind.hasUuid ? UUID : undefined)
      this.#made.set(name, image)
    }
    return image
  }
}

/** The lowers of one trial, and what is mounted on them. */
export class Lowers {
  readonly #kind: LowerKind
  readonly dirs: readonly string[]
  #ends: End[] = []

  constructor(kind: LowerKind, dir: string, count: number) {
    this.#kind = kind
    this.dirs = Array.from({ length: count }, (_, at) => join(dir, `lower${at}`))
    for (const lower of this.dirs) mkdirSync(lower)
  }

  async mount(images: readonly string[]): Promise<void> {
    for (const [at, image] of images.entries()) this.#ends.push(await this.#kind.mount(image, this.dirs[at] as string))
  }

  async unmount(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end()
  }
}

/** Every file of a tree and its content. */
export type Contents = Record<string, string>

export async function contentsOf(overlay: Overlay, dir = ''): Promise<Contents> {
  const found: Contents = {}
  for (const name of await list(overlay, dir)) {
    if (name === 'lost+found') continue
    const path = dir === '' ? name : `${dir}/${name}`
    if ((await at(overlay, path)).type === FileType.directory) Object.assign(found, await contentsOf(overlay, path))
    else found[path] = await text(overlay, path)
  }
  return found
}

export function contentsOnDisk(top: string, dir = ''): Contents {
  const found: Contents = {}
  for (const entry of readdirSync(join(top, dir), { withFileTypes: true })) {
    if (entry.name === 'lost+found') continue
    const path = join(dir, entry.name)
    if (entry.isDirectory()) Object.assign(found, contentsOnDisk(top, path))
    else found[path] = readFileSync(join(top, path), 'latin1')
  }
  return found
}

/** A handle as a client has it, and what it stood for. */
export interface Handle {
  readonly path: string
  readonly key: number
  readonly generation: number
  content: string
}

export async function takeHandles(overlay: Overlay): Promise<Handle[]> {
  const handles: Handle[] = []
  for (const [path, content] of Object.entries(await contentsOf(overlay))) {
    const inode = await at(overlay, path)
    overlay.retain(inode)
    handles.push({ path, key: inode.key, generation: inode.generation, content })
  }
  await overlay.retained()
  return handles
}

/** What a handle shows: the content of its file, or ESTALE. */
export async function shown(overlay: Overlay, { key, generation }: Handle): Promise<string> {
  try {
    const inode: Inode = await overlay.inodeByKey(key, generation)
    const { size } = await overlay.getattr(inode)
    const buffer = Buffer.alloc(size)
    return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, size, 0))
  } catch (error) {
    if (error instanceof OverlayError && error.code === 'ESTALE') return 'ESTALE'
    throw error
  }
}

/** The kernel's overlay over the same lowers, with an upper of its own. */
export class Kernel {
  readonly #dir: string
  readonly #options: string

  constructor(dir: string, lowerdir: string, options = 'index=on,redirect_dir=on') {
    this.#dir = dir
    for (const name of ['kernel', 'kernel-upper', 'kernel-work']) mkdirSync(join(dir, name))
    this.#options = `lowerdir=${lowerdir},upperdir=${dir}/kernel-upper,workdir=${dir}/kernel-work,${options}`
  }

  /** What `look` says of the mounted tree; undefined when the kernel refuses to mount it or cannot find a lower again. */
  look<T>(look: (dir: string) => T): T | undefined {
    const dir = join(this.#dir, 'kernel')
    try {
      execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', this.#options, dir], { stdio: 'pipe' })
    } catch (error) {
      if (error instanceof Error && 'status' in error) return undefined
      throw error
    }
    try {
      return look(dir)
    } catch (error) {
      // It finds its lower again by a handle that means nothing any more.
      if (error instanceof Error && /\bESTALE\b|-116\b|\bEIO\b/.test(error.message)) return undefined
      throw error
    } finally {
      execFileSync('umount', [dir])
    }
  }
}

/** After a restart a handle shows its file, or is stale. */
export async function checkRestarted(
  t: Test,
  overlay: Overlay,
  handles: readonly Handle[],
  when: string,
): Promise<{ valid: number; stale: number }> {
  let [valid, stale] = [0, 0]
  for (const handle of handles) {
    const found = await shown(overlay, handle)
    if (found === 'ESTALE') stale++
    else valid++
    t.ok(
      found === 'ESTALE' || found === handle.content,
      `${handle.path} ${when}: ${JSON.stringify(found)}, was ${JSON.stringify(handle.content)}`,
    )
  }
  return { valid, stale }
}
