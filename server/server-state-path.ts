import type { Settings } from '../config/index.ts'
import { adoptStateFile } from './state-dir.ts'
import { statePath } from './state-path.ts'

/**
 * The path of a state file of all views together. From the command line it belongs to the views (`identity`). From a configuration file it belongs to that
 * file, because views come and go while the server runs; a state file that the same views had before is taken over.
 */
export async function serverStatePath(
  { stateDir, configFile }: Settings,
  folder: string,
  identity: Iterable<string | Uint8Array>,
): Promise<string> {
  const byViews = statePath(stateDir, folder, identity)
  if (configFile === undefined) return byViews
  const path = statePath(stateDir, folder, ['config\0', configFile])
  await adoptStateFile(byViews, path)
  return path
}
