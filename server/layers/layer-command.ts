import { createInterface } from 'node:readline/promises'
import type { Config, LayerRequest, LayerWork } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { FollowOptions } from '../admin/client/admin-client.ts'
import { withProgress } from '../admin/commands/admin-command.ts'
import { systemClock } from '../clock.ts'
import type { Output } from '../config-command.ts'
import { loadConfig } from '../config-file.ts'
import { type Answer, askServer, chooseConfigServer } from '../config-server.ts'
import { systemRandom } from '../random.ts'
import { type RunFile, readRunFiles } from '../state-dir.ts'
import { exportLayers } from './export.ts'
import { executeLayerOrder, type LayerDescription, type LayerRequestParts } from './layer-requests.ts'
import {
  addedText,
  collectedText,
  committedText,
  detailText,
  exportedText,
  removedText,
  tableText,
} from './layer-text.ts'
import type { LayerAnswer } from './layer-work.ts'
import type { LayerProgress } from './make-version.ts'
import { storedUses } from './stored-uses.ts'
import { VersionStore } from './version-store.ts'

/** The terminal or pipe from which the answer is read. */
type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/** Shows how far the work is. */
type Show = (text: string) => void

/**
 * `overlayd layer`, `import`, `commit`, `promote` and `export`: has the running server do the work, or does it in this process if none runs. Returns the exit
 * status: 0, or 1 if the server cannot be reached.
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
  if (typeof place === 'string') {
    printError(`overlayd: ${place}\n`)
    return 1
  }
  await confirm(work, input, output)
  const show: Show = (text) => void (terminal && printError(`\r${text}\x1b[K`))
  try {
    const done =
      'server' in place ? await ask(place.server, work, show, output.printError) : await doHere(place, work, show)
    show('')
    print(json ? `${JSON.stringify(jsonOf(work, done), null, 2)}\n` : textOf(work, done))
    return 0
  } catch (error) {
    show('')
    if (!(error instanceof Unreachable)) throw error
    printError(`overlayd: ${error.message}\n`)
    return 1
  }
}

/** The server does not answer. */
class Unreachable extends Error {}

/** Who does the work. */
type Place = { readonly server: RunFile } | LocalPlace

interface LocalPlace {
  readonly store: VersionStore
  readonly config: Config | undefined
}

async function placeOf({ config: request, store, ...choice }: LayerRequest): Promise<Place | string> {
  if (store !== undefined) return { store: new VersionStore(store), config: undefined }
  if (request === undefined) {
    const server = chooseConfigServer(await readRunFiles(choice.stateDir), choice)
    return typeof server === 'string' ? `${server}, or --config FILE if no server runs` : { server }
  }
  const config = await loadConfig(request)
  const running = await readRunFiles(config.draft.stateDir)
  const server = running.find((each) => each.config === request.path)
  if (server !== undefined) return { server }
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

async function ask(
  server: RunFile,
  work: LayerWork,
  show: Show,
  printError: Output['printError'],
): Promise<LayerAnswer> {
  const answer = await withProgress(printError, ({ signal }) =>
    order(server, work, {
      ...(signal && { signal }),
      onProgress: ({ text, done = 0 }) => show(progressText({ step: text === 'writing' ? text : 'verifying', done })),
    }),
  )
  if ('failure' in answer) throw new Unreachable(`server ${server.pid} ${answer.failure}`)
  return answer.result
}

function order(server: RunFile, work: LayerWork, options: FollowOptions): Promise<Answer<LayerAnswer>> {
  switch (work.verb) {
    case 'remove':
      return askServer(server, 'layer remove', { layer: work.layer }, options)
    case 'export':
      return askServer(server, 'layer export', orderOf(work), options)
    case 'gc':
      return askServer(server, 'layer gc', orderOf(work), options)
    case 'list':
      return askServer(server, 'layer list', orderOf(work), options)
    case 'show':
      return askServer(server, 'layer show', orderOf(work), options)
    case 'commit':
    case 'promote':
      return askServer(server, `layer ${work.verb}`, orderOf(work), options)
    default:
      return askServer(server, `layer ${work.verb}`, orderOf(work), options)
  }
}

/** The work without its name. */
function orderOf<Work extends LayerWork>({ verb: _verb, ...order }: Work): Omit<Work, 'verb'> {
  return order
}

async function doHere(place: LocalPlace, work: LayerWork, show: Show): Promise<LayerAnswer> {
  const parts = partsHere(place, work, show)
  if ('view' in work) throw new OptionError('view', `${work.view} needs a running server; start it`)
  if (work.verb === 'export') return await exportLayers(undefined, parts, work)
  const done = await executeLayerOrder(parts, work)
  return 'layers' in done ? done.layers : done.removed
}

function partsHere({ store, config }: LocalPlace, work: LayerWork, show: Show): LayerRequestParts {
  if (work.verb === 'remove' && config === undefined)
    throw new OptionError('--store', 'does not say who uses the version; use --config FILE')
  return {
    store,
    random: systemRandom,
    wallNow: systemClock,
    progress: (progress) => show(progressText(progress)),
    uses: async () => (config === undefined ? [] : await storedUses(config.draft)),
    published: () => undefined,
  }
}

function progressText({ step, done }: LayerProgress): string {
  return step === 'writing' ? `writing: ${done}` : `verifying bytes: ${done}`
}

function jsonOf({ verb }: LayerWork, done: LayerAnswer): unknown {
  if (!isList(done)) return done
  return verb === 'list' || verb === 'show' ? done : done[0]
}

function textOf(work: LayerWork, done: LayerAnswer): string {
  if (isList(done)) {
    if (work.verb === 'list') return tableText(done)
    if (work.verb === 'show') return detailText(done)
    const [only] = done as [LayerDescription]
    return work.verb === 'remove' ? removedText(only) : addedText(only)
  }
  if ('leftovers' in done) return collectedText(done, work.verb === 'gc' && work.dryRun)
  if ('format' in done) return exportedText(done)
  return committedText(done, 'to' in work ? work.to : '')
}

function isList(done: LayerAnswer): done is readonly LayerDescription[] {
  return Array.isArray(done)
}
