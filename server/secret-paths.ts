import type { Settings } from '../config/index.ts'
import {
  liesIn,
  type MountOptions,
  OptionError,
  type Place,
  placesOf,
  showsInnerMounts,
} from '../overlay-core/index.ts'
import { OBJECTS } from './layers/version-record.ts'

/** A directory or file that no client may read or change through a layer. */
interface Secret {
  /** The option that sets the path. */
  readonly option: string
  readonly what: string
  readonly path: string
  /** Directories inside it that may be layers nevertheless. Undefined for a file: layers may be beside it. */
  readonly except: readonly string[] | undefined
  readonly mend: string
}

interface LayerPath {
  readonly option: string
  readonly path: string
}

/** A layer and a secret, one of which is inside the other. */
export interface Collision {
  /** The layer. */
  readonly path: string
  readonly message: string
  /** How to separate the layer from the secret. */
  readonly mend: string
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
      if (found !== undefined) throw new OptionError(secret.option, `${found.message}; ${found.mend}`)
    }
  }
}

/** Like `refuseSecretsInLayers`, for layers added by a remount. @throws OptionError naming `lowerdir` */
export async function refuseSecretsInNewLayers(settings: Settings, options: MountOptions): Promise<void> {
  for (const secret of secretsOf(settings)) {
    const found = await collision(secret, options)
    if (found !== undefined)
      throw new OptionError('lowerdir', `${found.message}; remove that layer, or restart with another ${secret.option}`)
  }
}

/** The collisions in one view that `refuseSecretsInLayers` refuses. */
export async function secretCollision(settings: Settings, options: MountOptions): Promise<Collision[]> {
  const found = await Promise.all(secretsOf(settings).map((secret) => collision(secret, options)))
  return found.filter((each) => each !== undefined)
}

function secretsOf({ stateDir, layerDirectory, configFile, tls, login }: Settings): Secret[] {
  const stateDirectory = {
    option: '--state-dir',
    what: 'the state directory',
    path: stateDir,
    except: [`${stateDir}/sample`, ...(layerDirectory === undefined ? [] : [`${layerDirectory}/${OBJECTS}`])],
    mend: 'choose a directory outside all layers',
  }
  const keys =
    tls === undefined || tls.own === 'self-signed'
      ? []
      : [
          {
            option: '--tls',
            what: 'the private key of the server',
            path: tls.own.key,
            except: undefined,
            mend: 'move it out of all layers',
          },
        ]
  if (configFile === undefined) return [stateDirectory, ...keys]
  const mend = 'move it out of all layers'
  const file = (option: string, what: string, path: string | undefined): Secret[] =>
    path === undefined ? [] : [{ option, what, path, except: undefined, mend }]
  return [
    ...[stateDirectory, ...keys],
    ...file('--config', 'the configuration file', configFile),
    ...file('--config', 'the password file', login?.passwordFile),
    ...file('--config', 'the audit file', login?.auditFile),
    ...file('--config', 'the file of the OpenID secret', login?.oidc?.clientSecretFile),
    ...file('--config', 'the file of the LDAP password', login?.ldap?.bindPasswordFile),
  ]
}

/** Returns the layer that contains the secret or is inside it. */
async function collision(secret: Secret, options: MountOptions): Promise<Collision | undefined> {
  const { mend } = secret
  const places = await placesOf(secret.path)
  const allowed = await Promise.all((secret.except ?? []).map(placesOf))
  const inner = await showsInnerMounts()
  for (const { option, path } of layersOf(options)) {
    const layer = await placesIfThere(path)
    const through = inner || option === 'upperdir' || option === 'workdir'
    if (liesIn(places, layer, through)) {
      const why = secret.except === undefined ? 'clients could read it' : 'clients could read its keys'
      return {
        path,
        mend,
        message: `'${secret.path}' (${secret.what}) is inside the ${option} '${path}', so ${why}`,
      }
    }
    if (secret.except === undefined) continue
    if (liesIn(layer, places, true) && !allowed.some((exception) => liesIn(layer, exception, false))) {
      return { path, mend, message: `'${secret.path}' (${secret.what}) contains the ${option} '${path}'` }
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
