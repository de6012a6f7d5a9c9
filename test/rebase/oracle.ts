/** What a path is: `directory`, or the type, mode and content of anything else. */
export type Plain = Map<string, string>

export const DIRECTORY = 'directory'

/** What happens where both sides have changed a file: by the last letters of its name. */
export function strategyOfName(name: string): 'mine' | 'theirs' | 'both' {
  return name.endsWith('T') ? 'theirs' : name.endsWith('B') ? 'both' : 'mine'
}

/**
 * What a view must show on a new base, computed path by path from what the old base, the view on it, and the new base show; no word of marks, layers or moves.
 * Renames of directories are not covered: the caller makes none.
 *
 * @param replaced directories that the user has removed and made again
 */
export function expected(old: Plain, view: Plain, next: Plain, replaced: ReadonlySet<string>): Plain {
  const chosen = new Map<string, { readonly value: string | undefined; readonly mine: boolean }>()
  for (const path of new Set([...old.keys(), ...view.keys(), ...next.keys()])) {
    // A directory that the user has made again is the user's, with all that is in it.
    const own = ancestors(path).some((above) => replaced.has(above))
    const made = own || (replaced.has(path) && view.get(path) === DIRECTORY)
    const choice = choose(old.get(path), view.get(path), next.get(path), strategyOfName(path))
    chosen.set(path, made ? { value: view.get(path), mine: true } : choice)
  }
  const result: Plain = new Map()
  for (const [path, { value, mine }] of chosen) {
    if (value === undefined || value === DIRECTORY) continue
    if (isHidden(chosen, path, mine, replaced)) continue
    result.set(path, value)
  }
  // Of a directory only whether it is there is compared: it is if something in it is, or if its side has it.
  for (const [path, { value, mine }] of chosen)
    if (value === DIRECTORY && !isHidden(chosen, path, mine, replaced)) result.set(path, DIRECTORY)
  for (const path of [...result.keys()]) for (const above of ancestors(path)) result.set(above, DIRECTORY)
  for (const path of [...result.keys()])
    if (ancestors(path).some((above) => result.get(above) !== DIRECTORY)) result.delete(path)
  addBeside(result, { old, view, next }, { chosen, replaced })
  return result
}

function choose(
  old: string | undefined,
  view: string | undefined,
  next: string | undefined,
  strategy: 'mine' | 'theirs' | 'both',
): { value: string | undefined; mine: boolean } {
  if (view === old || view === next) return { value: next, mine: false }
  if (next === old) return { value: view, mine: true }
  // A directory of the new base has no strategy of its own: it shows its content where the user has nothing.
  if (strategy === 'theirs') return { value: next, mine: false }
  if (strategy === 'both' && view === undefined) return { value: next, mine: false }
  return { value: view, mine: true }
}

/** Whether what is above a path does not let it be seen. */
function isHidden(
  chosen: ReadonlyMap<string, { readonly value: string | undefined; readonly mine: boolean }>,
  path: string,
  mine: boolean,
  replaced: ReadonlySet<string>,
): boolean {
  if (mine) return false
  return ancestors(path).some((above) => {
    const at = chosen.get(above)
    return (at?.mine === true && at.value !== DIRECTORY) || replaced.has(above)
  })
}

/** Where the base's version has its place beside the user's. */
function addBeside(
  result: Plain,
  { old, view, next }: { readonly old: Plain; readonly view: Plain; readonly next: Plain },
  {
    chosen,
    replaced,
  }: {
    readonly chosen: ReadonlyMap<string, { readonly value: string | undefined; readonly mine: boolean }>
    readonly replaced: ReadonlySet<string>
  },
): void {
  for (const [path, { mine }] of chosen) {
    const [was, now, base] = [old.get(path), view.get(path), next.get(path)]
    if (!mine || now === undefined || base === undefined || base === was || strategyOfName(path) !== 'both') continue
    if (result.get(path) !== now || ancestors(path).some((above) => replaced.has(above))) continue
    const there = `${path}.base-2`
    result.set(there, base)
    if (base === DIRECTORY)
      for (const [inside, value] of next)
        if (inside.startsWith(`${path}/`)) result.set(there + inside.slice(path.length), value)
  }
}

function ancestors(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join('/'))
}
