import { join } from 'node:path'
import { RecordJournal } from '../../overlay-core/index.ts'
import { readRecord, viewDirectories } from '../registry/view-directory.ts'
import { decodeLine, type ViewRecord } from '../registry/view-record.ts'

/** The registry of a template, as it is on disk. */
export interface RegistryState {
  readonly views: ReadonlyMap<string, ViewRecord>
  /** The layer below each layer. */
  readonly layers: ReadonlyMap<string, string | undefined>
  /** Views that are being deleted. */
  readonly leaving: ReadonlySet<string>
  /** The number of records that cannot be read. */
  readonly unreadable: number
}

/** Reads the registry of a template without changing it. */
export async function readRegistry(directory: string): Promise<RegistryState> {
  const views = new Map<string, ViewRecord>()
  const layers = new Map<string, string | undefined>()
  const leaving = new Set<string>()
  let unreadable = 0
  for (const text of await RecordJournal.recordsOf(join(directory, 'views'), 'views')) {
    const line = decodeLine(text)
    if (line === undefined) unreadable++
    else if (line.kind === 'made') views.set(line.view.id, line.view)
    else if (line.kind === 'layer') layers.set(line.layer.id, line.layer.below)
    else if (line.kind === 'removed') {
      views.delete(line.id)
      leaving.add(line.id)
    } else if (line.kind === 'deleted') {
      views.delete(line.id)
      leaving.delete(line.id)
    } else if (line.kind === 'frozen') {
      layers.set(line.layer.id, line.layer.below)
      const view = views.get(line.view)
      const snapshots = line.snapshot ? [...(view?.snapshots ?? []), line.snapshot] : view?.snapshots
      const versions = line.versions ?? view?.versions
      if (view) views.set(view.id, { ...view, top: line.top, snapshots, versions })
    } else {
      const view = views.get(line.id)
      if (view && line.kind === 'on') views.set(view.id, { ...view, versions: line.versions })
      if (view && line.kind === 'renamed') views.set(view.id, { ...view, name: line.name })
      if (view && line.kind === 'forgotten')
        views.set(view.id, { ...view, snapshots: view.snapshots?.filter(({ name }) => name !== line.name) })
    }
  }
  // A view is new for some seconds: it has a record in its directory, and not in the registry.
  for (const id of await viewDirectories(directory)) {
    const view = views.has(id) || leaving.has(id) ? undefined : await readRecord(directory, id)
    if (view !== undefined) views.set(id, view)
  }
  return { views, layers, leaving, unreadable }
}

/** The layers from `top` down, topmost first, as far as they are known. */
export function chainOf({ layers }: RegistryState, top: string | undefined): string[] {
  const chain: string[] = []
  for (let id = top; id !== undefined && !chain.includes(id); id = layers.get(id)) chain.push(id)
  return chain
}
