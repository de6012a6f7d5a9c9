import type { Overlay } from '../api/overlay-api.ts'
import { type Cred, FileType, type Inode, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { aspectsOf } from '../compare/aspects.ts'
import { compare } from '../compare/compare.ts'
import type { Aspect, Difference } from '../compare/difference.ts'
import type { FileIn } from '../compare/same-content.ts'
import type { BaseChanges } from './base-changes.ts'
import type { Action, BaseChange, Outcome, PathOutcome, StrategyOf } from './outcome.ts'

/** What the outcomes are computed from. */
export interface OutcomeParts {
  readonly cred: Cred
  /** The view on the old version of the base. */
  readonly view: Overlay
  readonly changes: BaseChanges
  readonly strategyOf: StrategyOf
}

/**
 * The outcome for each path of the upper and the frozen layers of a view, if the base below it changes; directories before what they contain. Nothing is changed.
 * The content of a file is read only where the base has changed it.
 */
export async function outcomesOf(parts: OutcomeParts): Promise<PathOutcome[]> {
  return await new Outcomes(parts).run()
}

class Outcomes {
  readonly #parts: OutcomeParts
  /** The paths of moved directories, by those in the base. */
  readonly #movedFrom = new Map<string, readonly Name[]>()
  /** The paths that moved files have left. */
  readonly #left = new Set<Difference>()
  /** Directories of the user in which the base shows nothing, by their paths. */
  readonly #covering = new Set<string>()
  /** Directories that are put with everything in them. */
  readonly #trees = new Set<string>()
  /** Directories that are not put, with everything in them. */
  readonly #dropped = new Set<string>()

  constructor(parts: OutcomeParts) {
    this.#parts = parts
  }

  async run(): Promise<PathOutcome[]> {
    const { cred, view, changes } = this.#parts
    const told: Difference[] = []
    for await (const difference of compare(cred, view, changes.old, (...at) => this.#aspects(...at)))
      told.push(difference)
    const moved = new Set(told.map(({ from }) => from?.join('/')))
    const found = told
      // What was found to have been moved only after it was missed is told twice.
      .filter(({ kind, was }) => kind !== 'removed' || !moved.has(was.join('/')))
      .flatMap((difference) => this.#byPath(difference))
    found.sort((a, b) => a.path.length - b.path.length)
    for (const { kind, from, type, path } of found)
      if (kind === 'renamed' && from !== undefined && type === FileType.directory)
        this.#movedFrom.set(from.join('/'), path)
    const outcomes: PathOutcome[] = []
    for (const difference of found) {
      if (difference.kind === 'removed' && (await this.#isStillThere(difference.was))) continue
      const outcome = await this.#outcomeOf(difference)
      if (outcome) outcomes.push(outcome)
      if (loopBudget.spent) await loopBudget.rest()
    }
    return dropEmpty(outcomes)
  }

  /** Whether a moved directory still contains what is missing in another one, which has taken its name. */
  async #isStillThere(was: readonly Name[]): Promise<boolean> {
    const { cred, view } = this.#parts
    for (let length = was.length - 1; length > 0; length--) {
      const path = this.#movedFrom.get(was.slice(0, length).join('/'))
      if (path === undefined) continue
      let at: Inode | undefined = view.root
      for (const name of [...path, ...was.slice(length)])
        at = at?.type === FileType.directory ? await view.lookup(cred, at, name) : undefined
      return at !== undefined
    }
    return false
  }

  /** Only moves of directories are moves on the new base; a moved file has gone from one path and come to another. */
  #byPath(difference: Difference): Difference[] {
    const { kind, from, type } = difference
    if (kind !== 'renamed' || from === undefined || type === FileType.directory) return [difference]
    const left: Difference = { ...difference, kind: 'removed', path: from, was: from }
    this.#left.add(left)
    return [left, { ...difference, kind: 'added' }]
  }

  /** Whether the user has changed something that the base has changed as well; elsewhere it does not matter. */
  async #aspects(after: FileIn, before: FileIn, was: readonly Name[]): Promise<Aspect[]> {
    const { cred, changes } = this.#parts
    if (after.inode.type !== before.inode.type) return ['type']
    if ((await changes.change(was)) === 'same') return []
    return (await aspectsOf(cred, after, before)).filter((aspect) => aspect !== 'time')
  }

  async #outcomeOf(difference: Difference): Promise<PathOutcome | undefined> {
    const { kind, path, after } = difference
    if (isIn(this.#dropped, path) && kind !== 'removed') return undefined
    if (isIn(this.#trees, path) && kind !== 'removed') return goneFrom(difference)
    if (isIn(this.#covering, path)) {
      // What was in a directory that has been moved from here is gone from there.
      if (kind === 'removed') return isIn(this.#movedFrom, path) ? await this.#removed(difference) : undefined
      return kind === 'renamed' ? await this.#moved(difference) : untouched(difference, 'put')
    }
    if (this.#parts.strategyOf(path) === 'replace') return this.#replaced(difference)
    if (kind === 'removed') return await this.#removed(difference)
    if (kind === 'renamed') return await this.#moved(difference)
    if (difference.replaced) return await this.#covered(difference)
    if (after?.type === FileType.directory) return await this.#directory(difference)
    return await this.#file(difference)
  }

  #replaced(difference: Difference): PathOutcome {
    if (difference.after?.type === FileType.directory && difference.kind !== 'same' && difference.kind !== 'changed')
      this.#dropped.add(difference.path.join('/'))
    return { difference, outcome: 'replaced', base: 'same', strategy: 'replace', action: 'drop', beside: false }
  }

  async #removed(difference: Difference): Promise<PathOutcome> {
    const base = await this.#parts.changes.deepChange(difference.was)
    if (base === 'same') return untouched(difference, 'hide')
    if (base === 'removed') return identical(difference, base)
    const outcome = this.#left.has(difference) ? 'moved' : 'masked'
    return this.#conflict(difference, outcome, base, { mine: 'hide', theirs: 'drop', both: 'drop' }, false)
  }

  /** A directory that hides everything that the base has at its path. */
  async #covered(difference: Difference): Promise<PathOutcome> {
    const base = await this.#parts.changes.deepChange(difference.was)
    const result =
      base === 'same' || base === 'removed'
        ? untouched(difference, 'cover', base)
        : this.#conflict(difference, 'masked', base, { mine: 'cover', theirs: 'put', both: 'put' })
    if (result.action === 'cover') this.#covering.add(difference.path.join('/'))
    return result
  }

  async #file(difference: Difference): Promise<PathOutcome> {
    const { was } = difference
    const { changes } = this.#parts
    const base = await changes.change(was)
    if (base === 'same') return untouched(difference, 'put')
    if (difference.kind === 'same') return identical(difference, base)
    const { next } = await changes.at(was)
    if (next === undefined)
      return this.#conflict(difference, 'stale', base, { mine: 'put', theirs: 'drop', both: 'put' })
    if (await this.#isAsIn(difference.after as Inode, next)) return identical(difference, base)
    const outcome = next.type === FileType.directory ? 'type' : 'stale'
    return this.#conflict(difference, outcome, base, { mine: 'put', theirs: 'drop', both: 'put' })
  }

  async #directory(difference: Difference): Promise<PathOutcome> {
    const { was, kind, path } = difference
    const { changes } = this.#parts
    const base = await changes.change(was)
    const { next } = await changes.at(was)
    if (base === 'same') return untouched(difference, 'put')
    if (next === undefined) {
      // It stays for what the user has in it.
      if (kind === 'same') return untouched(difference, 'put', base)
      return this.#conflict(difference, 'stale', base, { mine: 'put', theirs: 'drop', both: 'put' })
    }
    if (next.type !== FileType.directory) {
      const result = this.#conflict(difference, 'type', base, { mine: 'put', theirs: 'drop', both: 'put' })
      if (result.action === 'drop') this.#dropped.add(path.join('/'))
      return result
    }
    if (kind === 'same') return untouched(difference, 'put', base)
    // Both have added it, or changed its attributes.
    if (await this.#isAsIn(difference.after as Inode, next)) return untouched(difference, 'put', base)
    return this.#conflict(difference, 'stale', base, { mine: 'put', theirs: 'drop', both: 'put' }, false)
  }

  /** A moved directory. */
  async #moved(difference: Difference): Promise<PathOutcome> {
    const { changes, strategyOf } = this.#parts
    const { from = [], was, path } = difference
    const source = await changes.change(from)
    const there = await changes.change(was)
    const { next } = await changes.at(from)
    if (strategyOf(from) === 'replace') {
      this.#trees.add(path.join('/'))
      return { ...untouched(difference, 'tree'), outcome: 'replaced', strategy: 'replace' }
    }
    const taken = there !== 'same' && (await changes.at(was)).next !== undefined
    if (next?.type === FileType.directory) {
      if (!taken) return untouched(difference, 'move', source)
      return this.#conflict(difference, 'moved', there, { mine: 'move', theirs: 'move', both: 'move' }, undefined)
    }
    const result = this.#conflict(difference, 'moved', source, { mine: 'tree', theirs: 'put', both: 'tree' }, taken)
    if (result.action === 'tree') this.#trees.add(path.join('/'))
    return result
  }

  #conflict(
    difference: Difference,
    outcome: Outcome,
    base: BaseChange,
    actions: Readonly<Record<'mine' | 'theirs' | 'both', Action>>,
    /** Whether the object of the base can be put beside; undefined: it is, unless the user's counts alone. */
    canBeBeside: boolean | undefined = base !== 'removed' && outcome !== 'masked',
  ): PathOutcome {
    const strategy = this.#parts.strategyOf(difference.path)
    const action = strategy === 'theirs' ? actions.theirs : strategy === 'both' ? actions.both : actions.mine
    const beside = canBeBeside === undefined ? strategy !== 'mine' : strategy === 'both' && canBeBeside
    return { difference, outcome, base, strategy, action, beside }
  }

  async #isAsIn(inode: Inode, next: Inode): Promise<boolean> {
    const { cred, view, changes } = this.#parts
    if (inode.type !== next.type) return false
    const aspects = await aspectsOf(cred, { overlay: view, inode }, { overlay: changes.next, inode: next })
    return aspects.every((aspect) => aspect === 'time')
  }
}

/** Whether a path is in one of these directories. */
function isIn(directories: { readonly size: number; has(path: string): boolean }, path: readonly Name[]): boolean {
  if (directories.size === 0) return false
  return path.some((_, length) => length > 0 && directories.has(path.slice(0, length).join('/')))
}

/** What was moved into a directory that is put with everything in it is only gone from where it was. */
function goneFrom(difference: Difference): PathOutcome | undefined {
  const { kind, from } = difference
  if (kind !== 'renamed' || from === undefined) return undefined
  return untouched({ ...difference, kind: 'removed', path: from, was: from }, 'hide')
}

function untouched(difference: Difference, action: Action, base: BaseChange = 'same'): PathOutcome {
  return { difference, outcome: 'untouched', base, strategy: undefined, action, beside: false }
}

function identical(difference: Difference, base: BaseChange): PathOutcome {
  return { difference, outcome: 'identical', base, strategy: undefined, action: 'drop', beside: false }
}

/**
 * A directory that the user has not changed is only there for what it contains. Where nothing of that is kept, and the base no longer has a directory, it is
 * dropped.
 */
function dropEmpty(outcomes: readonly PathOutcome[]): PathOutcome[] {
  const needed = new Set<string>()
  for (const { difference, action } of outcomes) {
    if (action === 'drop' || action === 'hide' || isUnchangedDirectory(difference)) continue
    for (let length = difference.path.length - 1; length > 0; length--)
      needed.add(difference.path.slice(0, length).join('/'))
  }
  return outcomes.map((each) => {
    const { difference, base, action } = each
    if (action !== 'put' || base === 'same' || !isUnchangedDirectory(difference)) return each
    return needed.has(difference.path.join('/')) ? each : identical(difference, base)
  })
}

function isUnchangedDirectory({ kind, type }: Difference): boolean {
  return kind === 'same' && type === FileType.directory
}
