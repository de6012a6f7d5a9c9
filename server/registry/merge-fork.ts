import { compare, FileType, OptionError, type Overlay } from '../../overlay-core/index.ts'
import { SERVER } from './copy-tree.ts'
import { withMounted } from './path-resets.ts'
import { MOST, putBack, targetsOf } from './put-back.ts'
import type { RolledBack, Snapshots } from './snapshots.ts'
import type { TemplateView } from './template-view.ts'
import { shownPath, type ViewPath } from './view-paths.ts'

/** So many paths of conflicts are named. */
const MOST_NAMED = 5

/**
 * Gives a view what was changed in a fork since its last snapshot, or since it was made, in one step. What the view contained is kept as a snapshot. Modes and owners of
 * directories that exist in both are not taken over.
 *
 * @throws OptionError naming `view`: both have changed the same paths
 */
export async function mergeFork(
  snapshots: Snapshots,
  view: TemplateView,
  fork: TemplateView,
): Promise<RolledBack & { readonly count: number }> {
  using held = await snapshots.hold(fork)
  const from = await fork.use()
  try {
    return await withMounted(held.options, async (base) => {
      const paths = await changedPaths(from, base)
      if (paths.length === 0) return { aside: undefined, count: 0 }
      const { aside } = await snapshots.change(view, 'be changed', {
        prefix: 'before-merge-',
        on: 'present',
        paths,
        fill: async (to) => {
          await refuseConflicts(view, { to, base, paths })
          await putBack({ to, from, paths })
        },
      })
      return { aside, count: paths.length }
    })
  } finally {
    fork.release()
  }
}

/** The paths that differ, without those below others. */
async function changedPaths(fork: Overlay, base: Overlay): Promise<ViewPath[]> {
  const found: ViewPath[] = []
  for await (const { kind, path, from, type, aspects } of compare(SERVER, fork, base)) {
    // With the path of a directory everything in it would count.
    const isOnlyMode = kind === 'changed' && type === FileType.directory && !aspects.includes('type')
    if (kind === 'same' || isOnlyMode) continue
    found.push(path, ...(from ? [from] : []))
    if (found.length > MOST) throw new OptionError('view', `the fork has more than ${MOST} changes; keep it instead`)
  }
  const sorted = found.sort((a, b) => a.length - b.length)
  const tops = new Set<string>()
  return sorted.filter((path) => {
    if (path.some((_name, at) => tops.has(path.slice(0, at + 1).join('/')))) return false
    tops.add(path.join('/'))
    return true
  })
}

/** @throws OptionError the view has changed since the fork was made where the fork has changed too */
async function refuseConflicts(
  { path }: TemplateView,
  { to, base, paths }: { to: Overlay; base: Overlay; paths: readonly ViewPath[] },
): Promise<void> {
  const both: ViewPath[] = []
  for await (const difference of compare(SERVER, to, base))
    if (targetsOf(difference, paths).length > 0 && both.push(difference.path) > MOST_NAMED) break
  const [first] = both
  if (first === undefined) return
  const named = both.slice(0, MOST_NAMED).map(shownPath).join(', ')
  throw new OptionError(
    'view',
    `${path} was changed at the same paths since the fork was made: ${named}; keep the fork, and compare them`,
  )
}
