import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { setLockObserver } from '../../overlay-core/base/lock.ts'
import { Random } from '../differential/random.ts'
import type { Client } from './client.ts'
import { NAMES } from './generate.ts'
import { LockOrder } from './lock-order.ts'
import { type State, textOf } from './model.ts'
import { type Call, isSerial, Undecided } from './serial.ts'
import { StressViews, type Watch } from './views.ts'

const WINDOWS = 12

export interface RoundResult {
  readonly operations: number
  readonly locksTaken: number
  readonly undecided: number
  readonly failures: readonly string[]
}

export interface RoundSettings {
  readonly seed: number
  readonly options: string
  /** Overlays on the same lowers. */
  readonly views: number
}

/**
 * One round on fresh layers in `dir`: windows of concurrent operations on few names in each view, and after each the question whether a serial order explains
 * every answer that was given in a view and all that is seen in it afterwards. With several views, one is closed and opened again while the others work, and
 * the lower gets new files, which all must show.
 */
export async function stressRound(dir: string, settings: RoundSettings, watch: Watch): Promise<RoundResult> {
  const { seed, options } = settings
  const random = new Random(seed)
  rmSync(dir, { recursive: true, force: true })
  // Without an index the names of a lower hard link are objects of their own, which the model does not know.
  makeLayers(dir, !options.includes('index=off'))
  const locks = new LockOrder()
  setLockObserver(locks)
  const failures: string[] = []
  let [operations, undecided] = [0, 0]
  const views = await StressViews.open(dir, settings, random.chance(50))
  try {
    for (let i = 0; i < WINDOWS && failures.length === 0; i++) {
      const all = await views.window(random, i === WINDOWS / 2, locks, watch)
      failures.push(...locks.violations, ...views.failures)
      for (const { client, before, seen, view } of all) {
        operations += client.history.length
        const own: string[] = listingFailures(before, client)
        if (!isExplained(before, client.history, seen, own)) undecided++
        failures.push(...own.map((line) => (settings.views > 1 ? `view ${view}: ${line}` : line)))
      }
    }
  } finally {
    setLockObserver(undefined)
    await views.close()
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
  for (const name of ['lower/one/a', 'lower/one/b', 'lower/two/c']) {
    mkdirSync(`${dir}/${name}`, { recursive: true, mode: 0o755 })
  }
  writeFileSync(`${dir}/lower/one/c`, 'lower..1', { mode: 0o644 })
  writeFileSync(`${dir}/lower/one/a/a`, 'lower..2', { mode: 0o644 })
  writeFileSync(`${dir}/lower/two/a`, 'lower..3', { mode: 0o644 })
  if (!hardLinks) return
  linkSync(`${dir}/lower/two/a`, `${dir}/lower/two/b`)
  linkSync(`${dir}/lower/two/a`, `${dir}/lower/one/b/a`)
}
