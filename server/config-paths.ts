import { stat } from 'node:fs/promises'
import type { Config, FileView, Settings } from '../config/index.ts'
import { liesIn, OptionError, type Place, placesOf } from '../overlay-core/index.ts'
import { whyNoProjects } from './registry/project-support.ts'
import { secretCollision } from './secret-paths.ts'
import { checkReadyFile, checkWritable } from './state-dir.ts'

/**
 * Checks the paths in a configuration: a path that does not exist, is inside a layer, or is the upper of two views is reported as a problem. Creates
 * nothing.
 */
export async function checkPaths(config: Config, configFile: string): Promise<void> {
  const known = new Map<string, Promise<Place[]>>()
  const places = (path: string) => {
    const found = known.get(path) ?? placesOf(path).catch((): Place[] => [])
    known.set(path, found)
    return found
  }
  for (const view of config.views) await checkDirectories(view, config)
  await checkNesting(config, places)
  await checkServerPaths(config, config.draft, configFile)
}

type PlacesOf = (path: string) => Promise<Place[]>

/** The directories that a view changes, with the offsets of the values that name them. */
function uppersOf({ settings: { mount, template }, paths, at }: FileView): { path: string; at: number }[] {
  const { upperdir, workdir } = mount
  if (template !== undefined)
    return [{ path: template.directory, at: paths.get(template.mount.upperdir as string) ?? at }]
  return [upperdir, workdir].flatMap((path) => (path === undefined ? [] : [{ path, at: paths.get(path) ?? at }]))
}

function layersOf({ settings: { mount }, paths, at }: FileView): { path: string; at: number }[] {
  return [...mount.lowerdir, ...mount.datadir].map((path) => ({ path, at: paths.get(path) ?? at }))
}

async function checkDirectories(view: FileView, { problems }: Config): Promise<void> {
  const made = view.settings.make !== undefined || view.settings.template !== undefined
  for (const { path, at } of [...layersOf(view), ...(made ? [] : uppersOf(view))]) {
    const wrong = await whyNoDirectory(path)
    if (wrong !== undefined) problems.add(at, wrong, view.settings.name)
  }
  for (const { path, at } of made ? uppersOf(view) : []) {
    try {
      await checkWritable('directory', path)
      const wrong = view.settings.template?.quotaBy === 'filesystem' ? await whyNoProjects(path) : undefined
      if (wrong !== undefined) problems.add(at, wrong, view.settings.name)
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      problems.add(at, error.reason, view.settings.name)
    }
  }
}

async function whyNoDirectory(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isDirectory() ? undefined : `${path} is not a directory; name a directory`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return `there is no directory ${path}; make it, or mend the path`
    return `${path} cannot be looked at (${code ?? String(error)})`
  }
}

/** Checks that no upper is inside a layer or upper of any view, also through symlinks and mounts. A problem disables the view of the upper. */
async function checkNesting({ views, problems }: Config, places: PlacesOf): Promise<void> {
  const layers = new Map(views.flatMap(layersOf).map((layer) => [layer.path, layer]))
  const uppers = views.flatMap((view) => uppersOf(view).map((upper) => ({ ...upper, view: view.settings.name })))
  for (const upper of uppers) {
    const own = await places(upper.path)
    const complain = (inner: string, outer: string, what: string) =>
      problems.add(upper.at, `${inner} is inside the ${what} ${outer}; choose a directory outside it`, upper.view)
    for (const layer of layers.values()) {
      const other = await places(layer.path)
      if (liesIn(own, other, true)) complain(upper.path, layer.path, 'layer')
      else if (liesIn(other, own, true)) complain(layer.path, upper.path, 'upper or work directory')
    }
    for (const other of uppers) {
      if (other !== upper && liesIn(own, await places(other.path), true))
        complain(upper.path, other.path, 'upper or work directory')
    }
  }
}

async function checkServerPaths(config: Config, settings: Settings, configFile: string): Promise<void> {
  const { problems, views, placeOf } = config
  const tell = async (option: string, check: () => Promise<void>) => {
    try {
      await check()
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      problems.add(placeOf(option), error.reason)
    }
  }
  await tell('--state-dir', () => checkWritable('--state-dir', settings.stateDir))
  const { readyFile } = settings
  if (readyFile !== undefined) await tell('--ready-file', () => checkReadyFile(readyFile))
  for (const { settings: view, paths, at } of views) {
    for (const { path, message, mend } of await secretCollision(
      { ...settings, configFile },
      view.template?.mount ?? view.mount,
    ))
      problems.add(paths.get(path) ?? at, `${message}; ${mend}`, view.name)
  }
}
