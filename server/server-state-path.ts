import type { Settings } from '../config/index.ts'
import { adoptStateFile } from './state-dir.ts'
import { statePath } from './state-path.ts'
import type { View } from './views.ts'

/**
 * The path of a state file of all views together. From the command line it belongs to its view. From a configuration file it belongs to that file, because
 * views come and go while the server runs; the state file of a server of the command line that had one of the views, or all of them, is taken over.
 *
 * @param identityOf what a state file of a view belongs to
 */
export async function serverStatePath(
  { stateDir, configFile }: Settings,
  folder: string,
  views: readonly View[],
  identityOf: (view: View) => readonly (string | Uint8Array)[],
): Promise<string> {
  const pathOf = (some: readonly View[]) => statePath(stateDir, folder, some.flatMap(identityOf))
  if (configFile === undefined) return pathOf(views)
  const path = statePath(stateDir, folder, ['config\0', configFile])
  for (const some of [views, ...views.map((view) => [view])]) {
    // A journal has an ending, and none if an earlier version wrote it.
    for (const ending of ['', '.log']) await adoptStateFile(pathOf(some) + ending, path + ending)
  }
  return path
}
