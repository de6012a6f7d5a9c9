import type { LayerWork } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Committed } from './commit.ts'
import { type Exported, exportLayers } from './export.ts'
import { executeLayerOrder, type LayerDescription, type Removed } from './layer-requests.ts'
import type { LayerProgress } from './make-version.ts'
import { type LayerServer, type LayerWatch, layerPartsOf } from './server-layers.ts'

/** What work on layers came to. */
export type LayerAnswer = readonly LayerDescription[] | Removed | Committed | Exported

/** How work on layers is told, as lines of JSON: how far it is, and at the end what it came to, or why it failed. */
export type LayerLine =
  | { readonly progress: LayerProgress }
  | { readonly done: LayerAnswer }
  | { readonly failed: { readonly option: string; readonly message: string } }

/** The progress is told so often. */
const PROGRESS_MS = 250

/** Has a running server do work on layers. @throws OptionError nothing has changed */
export async function doLayerWork(server: LayerServer, work: LayerWork, watch: LayerWatch): Promise<LayerAnswer> {
  const parts = layerPartsOf(server, watch)
  if (work.verb === 'export') return await exportLayers(server, parts, work)
  if ('view' in work) {
    const { commitView } = await import('./commit.ts')
    return await commitView(server, parts, work)
  }
  const done = await executeLayerOrder(parts, work)
  return 'layers' in done ? done.layers : done.removed
}

/** The same as lines of JSON. Work whose reader goes away is ended. */
export async function* layerWorkLines(server: LayerServer, work: LayerWork): AsyncGenerator<string> {
  const controller = new AbortController()
  let latest: LayerProgress | undefined
  const progress = (next: LayerProgress) => {
    latest = next
  }
  const ended = doLayerWork(server, work, { signal: controller.signal, progress }).then(
    (done): LayerLine => ({ done }),
    (error): LayerLine => {
      if (!(error instanceof OptionError)) throw error
      return { failed: { option: error.option, message: error.reason } }
    },
  )
  try {
    for (;;) {
      const { promise: waited, resolve } = Promise.withResolvers<undefined>()
      const timer = setTimeout(resolve, PROGRESS_MS, undefined)
      const last = await Promise.race([ended, waited]).finally(() => clearTimeout(timer))
      if (last !== undefined) return yield lineOf(last)
      if (latest !== undefined) yield lineOf({ progress: latest })
      latest = undefined
    }
  } finally {
    controller.abort()
    await ended.catch(() => undefined)
  }
}

function lineOf(line: LayerLine): string {
  return `${JSON.stringify(line)}\n`
}
