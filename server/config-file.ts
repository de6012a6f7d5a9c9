import { readFile, stat } from 'node:fs/promises'
import { type Config, type ConfigRequest, loadConfigReader } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { checkPaths } from './config-paths.ts'
import { exportError } from './export-error.ts'

/**
 * Reads a configuration file and checks the paths in it.
 *
 * @throws OptionError it cannot be read, or an option of the command line is invalid; errors in the file are in the result
 */
export async function loadConfig(request: ConfigRequest): Promise<Config> {
  const { name, path, overrides, environment } = request
  const { readConfig, mostBytes } = await loadConfigReader()
  const text = await readText(request, mostBytes)
  const config = readConfig(text, { name, path, overrides, environment, exportError })
  await checkPaths(config, path)
  return config.problems.any ? { ...config, settings: undefined } : config
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
