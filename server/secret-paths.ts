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
  /** The directories inside it that may be layers all the same. */
  readonly except: readonly string[]
}

interface LayerPath {
  readonly option: string
  readonly path: string
}

/**
 * Refuses layers that hold what is the server's own, or lie in it, also by way of symlinks and bind mounts: a client would read the key of file handles and the
 * token that controls the server.
 *
 * @throws OptionError naming the option and the mend
 */
export async function refuseSecretsInLayers(settings: Settings, views: readonly MountOptions[]): Promise<void> {
  for (const secret of secretsOf(settings)) {
    for (const options of views) {
      const found = await collision(secret, options)
      if (found !== undefined) throw new OptionError(secret.option, `${found}; choose a directory outside all layers`)
    }
  }
}

/** As `refuseSecretsInLayers`, for the layers that an overlay is to get while it is served. @throws OptionError naming `lowerdir` */
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

/** Says in which layer the secret lies, or which layer in it. */
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

/** What cannot be looked at is refused by the mount, in its own words. */
async function placesIfThere(path: string): Promise<Place[]> {
  try {
    return await placesOf(path)
  } catch {
    return []
  }
}
