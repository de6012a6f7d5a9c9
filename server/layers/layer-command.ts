import { createInterface } from 'node:readline/promises'
import type { Config, LayerRequest, LayerWork } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import { systemClock } from '../clock.ts'
import type { Output } from '../config-command.ts'
import { loadConfig } from '../config-file.ts'
import { systemRandom } from '../random.ts'
import { type Exported, exportLayers } from './export.ts'
import { executeLayerOrder, type LayerDescription, type LayerRequestParts, type Removed } from './layer-requests.ts'
import { addedText, collectedText, detailText, exportedText, removedText, tableText } from './layer-text.ts'
import { storedUses } from './stored-uses.ts'
import { VersionStore } from './version-store.ts'

/** The terminal or pipe from which the answer is read. */
type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/** What work on layers came to. */
type Done = readonly LayerDescription[] | Removed | Exported

/** Shows how far the work is. */
type Show = (text: string) => void

/**
 * `overlayd layer`, `import` and `export`. Returns the exit status.
 *
 * @param terminal whether the errors are seen on a terminal, where the progress is shown
 * @throws OptionError nothing has changed
 */
export async function workOnLayers(
  asked: LayerRequest,
  input: Input,
  output: Output,
  terminal: boolean,
): Promise<number> {
  const { work, json } = asked
  const { print, printError } = output
  const place = await placeOf(asked)
  await confirm(work, input, output)
  const show: Show = (text) => void (terminal && printError(`\r${text}\x1b[K`))
  try {
    const done = await doHere(place, work, show)
    show('')
    print(json ? `${JSON.stringify(jsonOf(work, done), null, 2)}\n` : textOf(work, done))
    return 0
  } catch (error) {
    show('')
    throw error
  }
}

/** Where the work is done. */
interface Place {
  readonly store: VersionStore
  readonly config: Config | undefined
}

async function placeOf({ config: request, store }: LayerRequest): Promise<Place> {
  if (store !== undefined) return { store: new VersionStore(store), config: undefined }
  if (request === undefined) throw new OptionError('--config', 'is missing; add --config FILE, or --store DIR')
  const config = await loadConfig(request)
  return { store: new VersionStore(config.draft.layerDirectory as string), config }
}

/** @throws OptionError the answer was no, or nobody can be asked */
async function confirm(work: LayerWork, input: Input, { printError }: Output): Promise<void> {
  if (work.verb !== 'remove' || work.yes) return
  if (!input.isTTY) throw new OptionError('remove', 'asks before it removes anything; add --yes')
  printError(`Remove ${work.layer}? [y/N] `)
  const lines = createInterface({ input })
  const answer = await lines.question('')
  lines.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new OptionError('remove', 'the answer was not yes; nothing has changed')
}

async function doHere(place: Place, work: LayerWork, show: Show): Promise<Done> {
  const parts = partsHere(place, work, show)
  if (work.verb === 'export') return await exportLayers(parts, work)
  const done = await executeLayerOrder(parts, work)
  return 'layers' in done ? done.layers : done.removed
}

function partsHere({ store, config }: Place, work: LayerWork, show: Show): LayerRequestParts {
  if (work.verb === 'remove' && config === undefined)
    throw new OptionError('--store', 'does not say who uses the version; use --config FILE')
  return {
    store,
    random: systemRandom,
    wallNow: systemClock,
    progress: ({ step, done }) => show(step === 'writing' ? `writing objects: ${done}` : `verifying bytes: ${done}`),
    uses: async () => (config === undefined ? [] : await storedUses(config.draft)),
    published: () => undefined,
  }
}

function jsonOf({ verb }: LayerWork, done: Done): unknown {
  if (!isList(done)) return done
  return verb === 'list' || verb === 'show' ? done : done[0]
}

function textOf(work: LayerWork, done: Done): string {
  if (isList(done)) {
    if (work.verb === 'list') return tableText(done)
    if (work.verb === 'show') return detailText(done)
    const [only] = done as [LayerDescription]
    return work.verb === 'remove' ? removedText(only) : addedText(only)
  }
  if ('leftovers' in done) return collectedText(done, work.verb === 'gc' && work.dryRun)
  return exportedText(done)
}

function isList(done: Done): done is readonly LayerDescription[] {
  return Array.isArray(done)
}
