import { readFile, stat } from 'node:fs/promises'
import {
  type Config,
  type ConfigRequest,
  type FoundLayer,
  type LayerLookup,
  type LayerReference,
  loadConfigReader,
} from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { addInventory } from './boot/read-inventory.ts'
import { checkPaths } from './config-paths.ts'
import { exportError } from './export-error.ts'
import { storeError, VersionStore } from './layers/version-store.ts'

/**
 * Reads a configuration file and checks the paths in it.
 *
 * @throws OptionError it cannot be read, or an option of the command line is invalid; errors in the file are in the result
 */
export async function loadConfig(request: ConfigRequest): Promise<Config> {
  const { name, path, overrides, environment } = request
  const { readConfig, mostBytes } = await loadConfigReader()
  const text = await readText(request, mostBytes)
  const read = (layer: LayerLookup) => readConfig(text, { name, path, overrides, environment, exportError, layer })
  const config = await addInventory(await readWithLayers(read), environment.uid)
  await checkPaths(config, path)
  return config.problems.any ? { ...config, settings: undefined } : config
}

/** The file says where the layer store is, and which layers of it are wanted. So it is read again if there are any. */
async function readWithLayers(read: (layer: LayerLookup) => Config): Promise<Config> {
  const wanted = new Map<string, LayerReference>()
  const first = read((reference) => {
    wanted.set(keyOf(reference), reference)
    return ''
  })
  const { layerDirectory } = first.draft
  if (wanted.size === 0 || layerDirectory === undefined) return first
  const found = await findLayers(new VersionStore(layerDirectory), [...wanted.values()])
  return read((reference) => found.get(keyOf(reference)) as FoundLayer | string)
}

async function findLayers(
  store: VersionStore,
  wanted: readonly LayerReference[],
): Promise<Map<string, FoundLayer | string>> {
  const found = new Map<string, FoundLayer | string>()
  for (const { name, version } of wanted) {
    try {
      const layer = await store.find(name, version)
      found.set(keyOf({ name, version }), { version: layer.version, store: store.directory, path: store.pathOf(layer) })
    } catch (error) {
      const told = storeError(store.directory, error)
      if (!(told instanceof OptionError)) throw told
      found.set(keyOf({ name, version }), told.reason)
    }
  }
  return found
}

function keyOf({ name, version = '' }: LayerReference): string {
  return `${name}@${version}`
}

async function readText({ name, path }: ConfigRequest, mostBytes: number): Promise<string> {
  const refuse = (message: string) => new OptionError('--config', `${name} ${message}`)
  try {
    const found = await stat(path)
    if (!found.isFile()) throw refuse('is not a file; name a file')
    if (found.size > mostBytes) throw refuse(`is larger than ${mostBytes} bytes; that is no configuration`)
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path))
  } catch (error) {
    if (error instanceof OptionError) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') throw refuse('is not text in UTF-8; save it as UTF-8')
    if (code === 'ENOENT') throw refuse('does not exist; overlayd init DIR writes a first one')
    throw refuse(`cannot be read (${code ?? String(error)})`)
  }
}
