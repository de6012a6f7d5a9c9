import type { ResetRules } from '../../config/index.ts'
import { type MountOptions, mount, type Overlay } from '../../overlay-core/index.ts'
import { emptyDirectory } from './copy-tree.ts'
import { differsAt, type PutBack, putBack } from './put-back.ts'
import type { RolledBack, Snapshots } from './snapshots.ts'
import type { TemplateView } from './template-view.ts'
import { objectAt, pathIn, type ViewPath } from './view-paths.ts'

/** A wish to put paths of a view back. */
export interface PathReset {
  readonly paths: readonly ViewPath[]
  /** The snapshot that has the wanted state; undefined: the layers of the template have it. */
  readonly snapshot: string | undefined
  /** Whether what was there is copied beside it. */
  readonly beside: boolean
  /** Whether no snapshot of what was there is kept. */
  readonly drop: boolean
  /** The time, for the name of what is copied beside. */
  readonly nowMs: number
}

/** What putting paths back did. */
export interface PathsReset extends RolledBack, PutBack {}

/**
 * Gives some paths of a view the content that they have in the layers of the template, or had at a snapshot, in one step for its clients. What the view contained is kept
 * as a snapshot, unless `drop` is set. If nothing differs, nothing happens.
 *
 * @throws OptionError naming `view` or `PATH`
 */
export async function resetPaths(snapshots: Snapshots, view: TemplateView, reset: PathReset): Promise<PathsReset> {
  const { paths, snapshot, beside, drop, nowMs } = reset
  using held = snapshot === undefined ? undefined : await snapshots.hold(view, snapshot)
  return await withMounted(held?.options ?? view.lowersOn([]), async (from) => {
    const overlay = await view.use()
    try {
      if (!(await differsAt({ to: overlay, from, paths }))) return { aside: undefined, count: 0, beside: [] }
    } finally {
      view.release()
    }
    const word = snapshot === undefined ? 'before-reset-' : 'before-restore-'
    const asideSuffix = beside ? `.${word}${timeOf(nowMs)}` : undefined
    let done: PutBack = { count: 0, beside: [] }
    const { aside } = await snapshots.change(view, snapshot === undefined ? 'be reset' : 'be restored', {
      prefix: drop ? undefined : word,
      on: 'present',
      paths,
      fill: async (to) => {
        done = await putBack({ to, from, paths, asideSuffix })
      },
    })
    return { ...done, aside }
  })
}

/** Takes all changes back but those that the rules of the template keep, and empties the directories that they name. @throws OptionError naming `view` */
export async function resetByRules(
  snapshots: Snapshots,
  view: TemplateView,
  { keep, ephemeral }: ResetRules,
  drop: boolean,
): Promise<RolledBack> {
  const kept = keep.map((path) => pathIn(path, 'keep'))
  return await snapshots.change(view, 'be reset', {
    prefix: drop ? undefined : 'before-reset-',
    on: 'template',
    paths: kept,
    fill: async (to, before) => {
      if (kept.length > 0) await withMounted(before, (from) => putBack({ to, from, paths: kept }))
      for (const path of ephemeral) {
        const dir = await objectAt(to, pathIn(path, 'ephemeral'))
        if (dir?.type === to.root.type) await emptyDirectory(to, dir)
      }
    },
  })
}

/** Runs `work` with an overlay that is mounted for it. @throws OptionError · what `work` throws */
export async function withMounted<T>(options: MountOptions, work: (overlay: Overlay) => Promise<T>): Promise<T> {
  const overlay = await mount(options)
  try {
    return await work(overlay)
  } finally {
    await overlay.unmount()
  }
}

function timeOf(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 19).replaceAll(':', '')
}
