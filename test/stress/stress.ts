import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { setLockObserver } from '../../overlay-core/base/lock.ts'
import { FileType, type Inode, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { Random } from '../differential/random.ts'
import { Client, idOf } from './client.ts'
import { choiceOf, draw, NAMES } from './generate.ts'
import { LockOrder } from './lock-order.ts'
import { type Id, newDirectory, newFile, type Operation, type State, textOf } from './model.ts'
import { type Call, isSerial, Undecided } from './serial.ts'

const ROOT = { uid: 0, gid: 0, groups: [] }
/** Operations of one window, all of which are begun at once. */
const WINDOW_SIZES = [8, 20, 60, 200]
const WINDOWS = 12

export interface RoundResult {
  readonly operations: number
  readonly locksTaken: number
  readonly undecided: number
  readonly failures: readonly string[]
}

/** Runs a window, and fails when it does not end; is told who holds which locks. */
export type Watch = (work: Promise<void>, report: () => string[]) => Promise<void>

/**
 * One round on fresh layers in `dir`: windows of concurrent operations on few names, and after each the question whether a serial order
 * explains every answer that was given and all that is seen afterwards.
 */
export async function stressRound(dir: string, seed: number, options: string, watch: Watch): Promise<RoundResult> {
  const random = new Random(seed)
  rmSync(dir, { recursive: true, force: true })
  // Without an index the names of a lower hard link are objects of their own, which the model does not know.
  makeLayers(dir, !options.includes('index=off'))
  const locks = new LockOrder()
  setLockObserver(locks)
  const small = random.chance(50) ? { dentryLimit: 4, listingLimit: 10, fileLimit: 2 } : {}
  const words = [`lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`, options].filter(
    (word) => word !== '',
  )
  const failures: string[] = []
  let [operations, undecided] = [0, 0]
  let overlay = await mount(parseOptions(words.join(',')), small)
  try {
    let state = await stateOf(overlay)
    for (let i = 0; i < WINDOWS && failures.length === 0; i++) {
      const client = new Client(overlay, locks)
      await meet(client, overlay.root)
      await watch(runWindow(client, random, state, random.pick(WINDOW_SIZES)), () => locks.report())
      operations += client.history.length
      const seen = await stateOf(overlay)
      failures.push(...locks.violations, ...listingFailures(state, client))
      if (!isExplained(state, client.history, seen, failures)) undecided++
      state = seen
      if (i === WINDOWS / 2) {
        await overlay.unmount()
        overlay = await mount(parseOptions(words.join(',')), small)
        if (textOf(await stateOf(overlay)) !== textOf(state)) failures.push('a restart changes the tree')
      }
    }
  } finally {
    setLockObserver(undefined)
    await overlay.unmount()
  }
  return { operations, locksTaken: locks.taken, undecided, failures }
}

/** Whether it could be decided that a serial order leads from one state to the other; adds to `failures` when none does. */
function isExplained(before: State, history: readonly Call[], seen: State, failures: string[]): boolean {
  try {
    const text = textOf(seen)
    if (!isSerial(before, history, (state) => textOf(named(state)) === text))
      failures.push(`no serial order explains what ${history.length} calls answered and left`, ...told(history))
    return true
  } catch (error) {
    if (error instanceof Undecided) return false
    throw error
  }
}

function told(history: readonly Call[]): string[] {
  const lines = [...history].sort((a, b) => a.began - b.began)
  return lines.map(
    ({ operation, began, ended, result }) => `  ${began}–${ended} ${JSON.stringify(operation)} → ${result}`,
  )
}

/** Without the objects that have no name any more. */
function named(state: State): State {
  return new Map([...state].filter(([, node]) => node.links > 0))
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

/**
 * What listings owe: no name twice; a name that was there before the window and that nothing in it was about is given; one that was not and
 * that nothing was about is not.
 */
function listingFailures(before: State, { history, listings }: Client): string[] {
  const touched = new Set<string>()
  for (const { operation } of history) {
    if ('dir' in operation && operation.op !== 'lookup') touched.add(`${operation.dir}/${operation.name}`)
    if (operation.op === 'rename') touched.add(`${operation.toDir}/${operation.toName}`)
  }
  const failures: string[] = []
  for (const { dir, names } of listings) {
    if (new Set(names).size !== names.length) failures.push(`a listing of ${dir} has a name twice: ${names.join(' ')}`)
    const entries = before.get(dir)?.entries
    for (const name of ['one', 'two', ...NAMES]) {
      if (touched.has(`${dir}/${name}`) || entries === undefined) continue
      if (names.includes(name) !== entries.has(name))
        failures.push(
          `a listing of ${dir} ${entries.has(name) ? 'leaves out' : 'makes up'} ${name}: ${names.join(' ')}`,
        )
    }
  }
  return failures
}

function makeLayers(dir: string, hardLinks: boolean): void {
  for (const name of ['lower/one/a', 'lower/one/b', 'lower/two/c', 'upper', 'work']) {
    mkdirSync(`${dir}/${name}`, { recursive: true, mode: 0o755 })
  }
  writeFileSync(`${dir}/lower/one/c`, 'lower..1', { mode: 0o644 })
  writeFileSync(`${dir}/lower/one/a/a`, 'lower..2', { mode: 0o644 })
  writeFileSync(`${dir}/lower/two/a`, 'lower..3', { mode: 0o644 })
  if (!hardLinks) return
  linkSync(`${dir}/lower/two/a`, `${dir}/lower/two/b`)
  linkSync(`${dir}/lower/two/a`, `${dir}/lower/one/b/a`)
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
