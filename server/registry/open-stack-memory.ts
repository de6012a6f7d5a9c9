import type { Logger } from 'pino'
import type { TemplateSettings } from '../../config/index.ts'
import { isUnwritable, openStackMemory, type StackMemory } from '../../overlay-core/index.ts'
import { makeStackDirectory } from './view-directory.ts'

/** Opens what outlives the stack of a template, in the directory of its views. Ephemeral views end with the server, and so does this. */
export async function openMemoryOf(
  template: string,
  { directory, ephemeral }: TemplateSettings,
  log: Logger,
): Promise<StackMemory> {
  if (ephemeral) return await openStackMemory(undefined)
  try {
    return await openStackMemory(await makeStackDirectory(directory))
  } catch (error) {
    if (!isUnwritable(error)) throw error
    log.warn(
      { err: error, template },
      'file handles of lower objects are valid for this run only; free some space, or make the directory of the views writable, and restart',
    )
    return await openStackMemory(undefined)
  }
}
