import { writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import {
  FileType,
  type Inode,
  mount,
  type Overlay,
  openStack,
  parseOptions,
  type Stack,
} from '../../overlay-core/index.ts'
import type { Random } from '../differential/random.ts'
import { Client, idOf } from './client.ts'
import { choiceOf, draw } from './generate.ts'
import type { LockOrder } from './lock-order.ts'
import { type Id, newDirectory, newFile, type Operation, type State, textOf } from './model.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
/** Operations of one window, all of which are begun at once. */
const WINDOW_SIZES = [8, 20, 60, 200]
/** With several views, how often in a hundred windows one of them is closed and opened again meanwhile, and how often. */
const [RESTS, REOPENINGS] = [50, 5]
/** How often in a hundred windows the lower has got a file before. */
const GROWS = 30

/** Runs a window, and fails when it does not end; is told who holds which locks. */
export type Watch = (work: Promise<void>, report: () => string[]) => Promise<void>

/** What happened in a view in one window. */
export interface ViewWindow {
  readonly view: number
  readonly client: Client
  readonly before: State
  readonly seen: State
}

interface View {
  overlay: Overlay
  state: State
  /** The directory of the lower that gets new files. */
  readonly growing: Id
}

/** Some overlays on the same lowers; with more than one, they share a stack. */
export class StressViews {
  readonly #dir: string
  readonly #options: string
  /** Whether changes of the lower are seen. */
  readonly #grows: boolean
  readonly #small: boolean
  readonly #stack: Stack | undefined
  readonly #views: View[] = []
  /** What was wrong besides the answers. */
  readonly failures: string[] = []
  /** The files that the lower got. */
  readonly #grown: string[] = []

  private constructor(
    dir: string,
    options: string,
    parts: { grows: boolean; small: boolean; stack: Stack | undefined },
  ) {
    this.#dir = dir
    this.#options = options
    this.#grows = parts.grows
    this.#small = parts.small
    this.#stack = parts.stack
  }

  /** @param dir with the folder `lower`, and `lower/one` in it; @param small whether caches are */
  static async open(
    dir: string,
    { views, options, seed }: { readonly views: number; readonly options: string; readonly seed: number },
    small: boolean,
  ): Promise<StressViews> {
    const stack = views > 1 ? await openStack(parseOptions(`lowerdir=${dir}/lower`)) : undefined
    const opened = new StressViews(dir, options, { grows: views > 1 && seed % 2 === 0, small, stack })
    for (let i = 0; i < views; i++) {
      for (const part of ['upper', 'work']) await mkdir(`${dir}/view${i}/${part}`, { recursive: true, mode: 0o755 })
      const overlay = await opened.#mount(i)
      const growing = idOf((await overlay.lookup(ROOT, overlay.root, 'one')) as Inode)
      opened.#views.push({ overlay, state: await stateOf(overlay), growing })
    }
    return opened
  }

  /** Runs a window in each view, all at once. With `restart` all of them are closed and opened again afterwards. */
  async window(random: Random, restart: boolean, locks: LockOrder, watch: Watch): Promise<ViewWindow[]> {
    const views = this.#views
    if (this.#grows && random.chance(GROWS)) await this.#grow()
    const resting = views.length > 1 && random.chance(RESTS) ? random.below(views.length) : -1
    const clients: Client[] = []
    for (const { overlay } of views) {
      const client = new Client(overlay, locks)
      await meet(client, overlay.root)
      clients.push(client)
    }
    const work = views.map(({ state }, i) =>
      i === resting
        ? this.#reopen(i, REOPENINGS)
        : runWindow(clients[i] as Client, random, state, random.pick(WINDOW_SIZES)),
    )
    await watch(
      Promise.all(work).then(() => undefined),
      () => locks.report(),
    )
    const windows: ViewWindow[] = []
    for (const [i, view] of views.entries()) {
      const before = view.state
      view.state = await stateOf(view.overlay)
      windows.push({ view: i, client: clients[i] as Client, before, seen: view.state })
      if (!restart) continue
      await this.#reopen(i, 1)
      if (textOf(await stateOf(view.overlay)) !== textOf(view.state))
        this.failures.push(`view ${i}: a restart changes the tree`)
    }
    return windows
  }

  async close(): Promise<void> {
    for (const { overlay } of this.#views) await overlay.unmount()
    await this.#stack?.close()
  }

  /** Adds a file to the lower, which all views must show. */
  async #grow(): Promise<void> {
    this.#grown.push(`new-${this.#grown.length}`)
    writeFileSync(`${this.#dir}/lower/one/${this.#grown.at(-1)}`, 'lower..4', { mode: 0o644 })
    for (const [i, view] of this.#views.entries()) {
      view.state = await stateOf(view.overlay)
      // A view may have removed the directory before it had such files.
      const names = view.state.get(view.growing)?.entries
      const missing = this.#grown.filter((name) => names?.has(name) === false)
      if (missing.length > 0) this.failures.push(`view ${i} does not show new files of the lower: ${missing.join(' ')}`)
    }
  }

  async #reopen(i: number, times: number): Promise<void> {
    const view = this.#views[i] as View
    for (let n = 0; n < times; n++) {
      await view.overlay.unmount({ sync: n % 2 === 0 })
      view.overlay = await this.#mount(i)
      await view.overlay.lookup(ROOT, view.overlay.root, 'one')
    }
  }

  #mount(i: number): Promise<Overlay> {
    const own = `${this.#dir}/view${i}`
    const words = [`lowerdir=${this.#dir}/lower,upperdir=${own}/upper,workdir=${own}/work`, this.#options]
    if (this.#grows) words.push('revalidate=always')
    const small = this.#small ? { dentryLimit: 4, listingLimit: 10, fileLimit: 2 } : {}
    const options = parseOptions(words.filter((word) => word !== '').join(','))
    return mount(options, { ...small, stack: this.#stack, claimed: this.#stack !== undefined })
  }
}

/** What the overlay shows now, while nothing else happens. */
async function stateOf(overlay: Overlay): Promise<State> {
  const state = new Map<Id, ReturnType<typeof newFile>>()
  const walk = async (inode: Inode, parent: Id | undefined): Promise<void> => {
    const id = idOf(inode)
    const { mode, nlink } = await overlay.getattr(inode)
    if (inode.type !== FileType.directory) {
      const buffer = Buffer.alloc(8)
      const value = buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, 8, 0))
      state.set(id, { ...newFile(mode, value), links: nlink })
      return
    }
    const entries = new Map<string, Id>()
    for (const name of await namesIn(overlay, inode)) {
      const child = (await overlay.lookup(ROOT, inode, name)) as Inode
      entries.set(name, idOf(child))
      await walk(child, id)
    }
    state.set(id, newDirectory(mode, parent, entries))
  }
  await walk(overlay.root, undefined)
  return state
}

async function namesIn(overlay: Overlay, dir: Inode): Promise<string[]> {
  const names: string[] = []
  await overlay.readdir(ROOT, dir, 0, ({ name }) => names.push(name) > 0)
  return names
}

/** Gives the client a handle of every object below `inode`. */
async function meet(client: Client, inode: Inode): Promise<void> {
  client.inodes.set(idOf(inode), inode)
  if (inode.type !== FileType.directory) return
  for (const name of await namesIn(client.overlay, inode)) {
    await meet(client, (await client.overlay.lookup(ROOT, inode, name)) as Inode)
  }
}

/** Begins `size` operations at once; some are followed by others of the same caller. */
async function runWindow(client: Client, random: Random, state: State, size: number): Promise<void> {
  const choice = choiceOf(state)
  const callers: Promise<void>[] = []
  for (let i = 0; i < size; ) {
    const length = Math.min(1 + random.below(3), size - i)
    const drawn = Array.from({ length }, () => draw(random, choice))
    callers.push(callInTurn(client, drawn))
    i += length
  }
  await Promise.all(callers)
}

async function callInTurn(client: Client, drawn: readonly (Operation | { readonly list: Id })[]): Promise<void> {
  for (const one of drawn) {
    if ('list' in one) await client.list(one.list)
    else await client.perform(one)
  }
}
