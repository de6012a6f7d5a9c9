import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isThere } from '../make-directory.ts'
import { readRecord, writeRecord } from '../registry/view-directory.ts'
import { isViewId } from '../registry/view-id.ts'
import type { Problem } from './problem.ts'
import { chainOf, type RegistryState } from './registry-state.ts'

/** Checks the registry of a template against its directories. */
export async function* checkRegistry(directory: string, state: RegistryState): AsyncGenerator<Problem> {
  if (state.unreadable > 0)
    yield error(
      'registry-record',
      join(directory, 'views.log'),
      `has ${state.unreadable} records that cannot be read; the server leaves them out`,
    )
  const names = new Set(await namesIn(directory))
  for (const [id, view] of state.views) {
    const own = join(directory, id)
    if (!names.has(id)) {
      yield error(
        'view-missing',
        own,
        `the directory of the view ${view.name} is gone; put it back from a backup, or say overlayd view remove`,
      )
      continue
    }
    for (const part of ['upper', 'work'])
      if (!(await isThere(join(own, part))))
        yield error(
          'view-incomplete',
          join(own, part),
          `belongs to the view ${view.name} and is gone; put it back from a backup`,
        )
    const saved = await readRecord(directory, id).catch(() => undefined)
    if (saved?.name !== view.name || saved.top !== view.top)
      yield {
        ...error(
          'view-record-differs',
          join(own, 'view.json'),
          `does not say what the registry says of the view ${view.name}; it counts only if the registry is lost`,
        ),
        severity: 'warning',
        repair: 'write it again',
        fix: () => writeRecord(own, view),
      }
    for (const top of [view.top, ...(view.snapshots ?? []).map((snapshot) => snapshot.top)])
      for (const layer of chainOf(state, top))
        if (!state.layers.has(layer))
          yield error(
            'layer-unknown',
            own,
            `the view ${view.name} needs the layer ${layer}, which is not in the registry`,
          )
  }
  for (const id of names)
    if (isViewId(id) && !state.views.has(id) && !state.leaving.has(id))
      yield warning(
        'view-stranger',
        join(directory, id),
        'belongs to no view of the registry; the next start of the server takes it in if it has a record',
      )
  yield* checkLayers(directory, state)
}

async function* checkLayers(directory: string, state: RegistryState): AsyncGenerator<Problem> {
  const layers = join(directory, 'layers')
  const names = new Set(await namesIn(layers))
  const needed = new Set<string>()
  for (const { top, snapshots = [] } of state.views.values())
    for (const each of [top, ...snapshots.map((snapshot) => snapshot.top)])
      for (const id of chainOf(state, each)) needed.add(id)
  for (const id of needed)
    if (state.layers.has(id) && !(await isThere(join(layers, id, 'upper'))))
      yield error(
        'layer-missing',
        join(layers, id),
        'is a layer that views or snapshots need, and is gone; put it back from a backup',
      )
  for (const name of names) {
    const path = join(layers, name)
    const remove = { repair: 'delete it', fix: () => rm(path, { recursive: true }) }
    if (name.startsWith('deleting-'))
      yield {
        ...warning('layer-leftover', path, 'was being deleted; the next start of the server goes on with it'),
        ...remove,
      }
    else if (name.startsWith('merging-'))
      yield warning('merge-leftover', path, 'is left of a squash; the next start of the server finishes or undoes it')
    else if (!isViewId(name)) yield warning('layer-stranger', path, 'is no layer; move it away')
    else if (!state.layers.has(name))
      yield warning(
        'layer-unrecorded',
        path,
        'is not in the registry; the next start of the server takes it in or deletes it',
      )
    else if (!needed.has(name))
      yield {
        ...warning(
          'layer-unneeded',
          path,
          'is needed by no view and no snapshot; the next start of the server deletes it',
        ),
      }
  }
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function error(code: string, path: string, what: string): Problem {
  return { code, severity: 'error', path, what, repair: undefined, fix: undefined }
}

function warning(code: string, path: string, what: string): Problem {
  return { ...error(code, path, what), severity: 'warning' }
}
