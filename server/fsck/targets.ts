import { basename, dirname, join } from 'node:path'
import type { FsckRequest } from '../../config/index.ts'
import { claimDirectory, nearestWord, OptionError } from '../../overlay-core/index.ts'
import { loadConfig } from '../config-file.ts'
import { isThere } from '../make-directory.ts'
import type { LayerVersions } from '../registry/layer-versions.ts'
import { mountOn } from '../registry/template-lowers.ts'
import { checkRegistry } from './check-registry.ts'
import { checkTree, checkView } from './check-view.ts'
import type { Problem } from './problem.ts'
import { chainOf, type RegistryState, readRegistry } from './registry-state.ts'

/** What a command line wants to be checked. */
export interface Target {
  /** The directory that must not be in use for a repair. */
  readonly claimed: string
  /** Whether lowers are known. */
  readonly hasLowers: boolean
  problems(): AsyncGenerator<Problem>
}

/** Layers of views. */
interface Below {
  readonly lowers: readonly string[]
  /** Those of a view on these versions of layers; undefined: `lowers` are those of all. */
  readonly lowersOn?: (versions: LayerVersions | undefined) => readonly string[]
  readonly userxattr: boolean
}

/** Finds out what is to be checked. @throws OptionError there is no such view or directory */
export async function targetOf(asked: FsckRequest): Promise<Target> {
  const { config, path, lowers, workdir, userxattr } = asked
  if (config !== undefined) return await configured(asked)
  if (!(await isThere(path)))
    throw new OptionError(
      'fsck',
      `there is no directory ${path}; for a view say overlayd fsck TEMPLATE/NAME --config FILE`,
    )
  const below = { lowers, userxattr }
  if (await isThere(join(path, 'views.log'))) return await template(path, below)
  const isView = (await isThere(join(path, 'upper'))) && (await isThere(join(path, 'work')))
  if (isView && (await isThere(join(path, 'view.json')))) return await oneView(dirname(path), basename(path), below)
  const upper = isView ? join(path, 'upper') : path
  const beside = join(dirname(upper), 'work')
  const tree = { upper, workdir: workdir ?? ((await isThere(beside)) ? beside : undefined), ...below }
  return { claimed: upper, hasLowers: lowers.length > 0, problems: () => checkTree(tree) }
}

async function configured({ config, target }: FsckRequest): Promise<Target> {
  const { settings } = await loadConfig(config!)
  if (settings === undefined)
    throw new OptionError('--config', `${config!.name} has errors; see overlayd config check ${config!.name}`)
  const [name = '', ...rest] = target.split('/')
  const found = settings.views.find((view) => view.name === name)
  if (found === undefined) {
    const names = settings.views.map((view) => view.name)
    throw new OptionError(
      'fsck',
      `${config!.name} has no view ${JSON.stringify(name)}; did you mean ${nearestWord(name, names) ?? names[0]}?`,
    )
  }
  const { mount } = found
  const { lowerdir = [], userxattr = false } = found.template?.mount ?? mount ?? {}
  const lowersOn =
    found.template && ((versions: LayerVersions | undefined) => mountOn(found.template!, versions).lowerdir)
  const below = { lowers: lowerdir, userxattr, ...(lowersOn && { lowersOn }) }
  if (found.template === undefined) {
    if (mount?.upperdir === undefined)
      throw new OptionError('fsck', `${name} has no upper, so there is nothing to check`)
    const tree = { upper: mount.upperdir, workdir: mount.workdir, ...below }
    return { claimed: tree.upper, hasLowers: true, problems: () => checkTree(tree) }
  }
  const { directory } = found.template
  if (rest.length === 0) return await template(directory, below)
  const state = await readRegistry(directory)
  const wanted = rest.join('/')
  const view = [...state.views.values()].find((each) => each.name === wanted)
  if (view === undefined) throw new OptionError('fsck', `there is no view ${target}; see overlayd view list ${name}`)
  return await oneView(directory, view.id, below)
}

async function template(directory: string, below: Below): Promise<Target> {
  const state = await readRegistry(directory)
  async function* problems(): AsyncGenerator<Problem> {
    yield* checkRegistry(directory, state)
    const done = new Set<string>()
    for (const id of state.views.keys()) yield* viewAndLayers(directory, id, state, below, done)
  }
  return { claimed: directory, hasLowers: below.lowers.length > 0, problems }
}

async function oneView(directory: string, id: string, below: Below): Promise<Target> {
  const state = await readRegistry(directory)
  const problems = () => viewAndLayers(directory, id, state, below, new Set())
  return { claimed: directory, hasLowers: below.lowers.length > 0, problems }
}

/** @param done layers that were checked already, as other views have them too */
async function* viewAndLayers(
  directory: string,
  id: string,
  state: RegistryState,
  { lowers, lowersOn = () => lowers, userxattr }: Below,
  done: Set<string>,
): AsyncGenerator<Problem> {
  const own = join(directory, id)
  const view = state.views.get(id)
  const pathOf = (layer: string) => join(directory, 'layers', layer, 'upper')
  // Without the lowers of the template nothing is known of what is beneath.
  const below = (chain: readonly string[], versions = view?.versions) =>
    lowers.length === 0 ? [] : [...chain.map(pathOf), ...lowersOn(versions)]
  const chain = chainOf(state, view?.top)
  if (await isThere(join(own, 'upper')))
    yield* checkView({ upper: join(own, 'upper'), workdir: join(own, 'work'), lowers: below(chain), userxattr })
  for (const { top, versions } of [{ top: view?.top, versions: view?.versions }, ...(view?.snapshots ?? [])]) {
    for (const [at, layer] of chainOf(state, top).entries()) {
      if (done.has(layer) || !(await isThere(pathOf(layer)))) continue
      done.add(layer)
      const rest = chainOf(state, top).slice(at + 1)
      yield* checkTree({ upper: pathOf(layer), workdir: undefined, lowers: below(rest, versions), userxattr })
    }
  }
}

/** Keeps everybody else from using the directory; undefined if it is in use. */
export async function claimFor({ claimed }: Target): Promise<(() => void) | undefined> {
  return await claimDirectory(claimed)
}
