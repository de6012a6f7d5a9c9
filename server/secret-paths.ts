import type { Settings } from '../config/index.ts'
import {
  liesIn,
  type MountOptions,
  OptionError,
  type Place,
  placesOf,
  showsInnerMounts,
} from '../overlay-core/index.ts'

/** A directory or file that no client may read or change through a layer. */
interface Secret {
  /** The option that names it. */
  readonly option: string
  readonly what: string
  readonly path: string
  /** Directories inside it that may be layers nevertheless. */
  readonly except: readonly string[]
}

interface LayerPath {
  readonly option: string
  readonly path: string
}

/**
 * Refuses layers that contain the server's own files or are inside them, also through symlinks and bind mounts. Otherwise clients could read the file handle key and the
 * control token.
 *
 * @throws OptionError naming the option and its correction
 */
export async function refuseSecretsInLayers(settings: Settings, views: readonly MountOptions[]): Promise<void> {
  for (const secret of secretsOf(settings)) {
    for (const options of views) {
      const found = await collision(secret, options)
      if (found !== undefined) throw new OptionError(secret.option, `${found}; choose a directory outside all layers`)
    }
  }
}

/** Like `refuseSecretsInLayers`, for layers added by a remount. @throws OptionError naming `lowerdir` */
export async function refuseSecretsInNewLayers(settings: Settings, options: MountOptions): Promise<void> {
  for (const secret of secretsOf(settings)) {
    const found = await collision(secret, options)
    if (found !== undefined)
      throw new OptionError('lowerdir', `${found}; remove that layer, or restart with another ${secret.option}`)
  }
}

function secretsOf({ stateDir }: Settings): Secret[] {
  return [{ option: '--state-dir', what: 'the state directory', path: stateDir, except: [`${stateDir}/sample`] }]
}

/** Describes which layer contains the secret, or is inside it; undefined if none. */
async function collision(secret: Secret, options: MountOptions): Promise<string | undefined> {
  const places = await placesOf(secret.path)
  const allowed = await Promise.all(secret.except.map(placesOf))
  const inner = await showsInnerMounts()
  for (const { option, path } of layersOf(options)) {
    const layer = await placesIfThere(path)
    const through = inner || option === 'upperdir' || option === 'workdir'
    if (liesIn(places, layer, through)) {
      return `'${secret.path}' (${secret.what}) is inside the ${option} '${path}', so clients could read its keys`
    }
    if (liesIn(layer, places, true) && !allowed.some((exception) => liesIn(layer, exception, false))) {
      return `'${secret.path}' (${secret.what}) contains the ${option} '${path}'`
    }
  }
  return undefined
}

function layersOf({ lowerdir, datadir, upperdir, workdir }: MountOptions): LayerPath[] {
  const layers = lowerdir.map((path) => ({ option: 'lowerdir', path }))
  for (const path of datadir) layers.push({ option: 'datadir', path })
  if (upperdir !== undefined) layers.push({ option: 'upperdir', path: upperdir })
  if (workdir !== undefined) layers.push({ option: 'workdir', path: workdir })
  return layers
}

/** Paths that cannot be accessed are ignored here; the mount refuses them with its own message. */
async function placesIfThere(path: string): Promise<Place[]> {
  try {
    return await placesOf(path)
  } catch {
    return []
  }
}
