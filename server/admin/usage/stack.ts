import { holdView } from '../../diff/held-view.ts'
import type { RunningServer } from '../../running-server.ts'

/** A layer of a view, as a picture shows it. */
export interface StackLayer {
  readonly kind: 'upper' | 'frozen' | 'lower' | 'data'
  readonly path: string
  /** The snapshots that begin at this frozen layer: it and what lies below is what they contain. */
  readonly snapshots?: readonly string[]
}

/** A view and its layers, topmost first. */
export interface StackPicture {
  readonly view: string
  readonly readOnly: boolean
  readonly layers: readonly StackLayer[]
}

/** The layers of a view or snapshot. @throws OptionError naming `view` */
export async function stackOf(server: RunningServer, view: string): Promise<StackPicture> {
  const held = await holdView(server, view, 'view')
  try {
    const { options, readOnly } = held.overlay
    const { upperdir, lowerdir, datadir, frozen = 0 } = options
    const tops = snapshotsByTop(server, view)
    const layers: StackLayer[] = []
    if (upperdir !== undefined) layers.push({ kind: 'upper', path: upperdir })
    for (const [at, path] of lowerdir.entries()) {
      const snapshots = at < frozen ? tops.get(layerId(path)) : undefined
      layers.push({ kind: at < frozen ? 'frozen' : 'lower', path, ...(snapshots && { snapshots }) })
    }
    for (const path of datadir) layers.push({ kind: 'data', path })
    return { view, readOnly, layers }
  } finally {
    await held.release()
  }
}

/** The id of a frozen layer: the name of a directory on its path. */
function layerId(path: string): string {
  return path.split('/').findLast((name) => /^[0-9a-f]{16}$/.test(name)) ?? ''
}

function snapshotsByTop({ templates }: RunningServer, view: string): ReadonlyMap<string, readonly string[]> {
  const [name = '', ...rest] = view.split('/')
  const found = templates?.get(name)?.byName(rest.join('/'))
  const groups = Map.groupBy(found?.record.snapshots ?? [], ({ top }) => top)
  return new Map([...groups].map(([top, snapshots]) => [top, snapshots.map((each) => each.name)]))
}
