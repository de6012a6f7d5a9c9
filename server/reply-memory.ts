import { rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import type { Settings } from '../config/index.ts'
import { isErrno, openPersistentMemory, type PersistentMemory } from '../overlay-core/index.ts'
import { isReplyMemory, REPLY_MEMORY_BYTES } from '../protocols/nfs/index.ts'
import { makeDirectory } from './make-directory.ts'
import { serverStatePath } from './server-state-path.ts'
import type { View } from './views.ts'

/**
 * Opens the reply memory of NFS for these views. Undefined if all of them are read-only, or if it cannot be opened, which is logged: the server
 * then runs without. Two servers never share one, because the file belongs to uppers and each upper to one server.
 */
export async function openReplyMemory(
  settings: Settings,
  views: readonly View[],
  log: Logger,
): Promise<PersistentMemory | undefined> {
  const writable = views.filter(({ overlay }) => overlay.options.upperdir !== undefined)
  // Views of a configuration file come and go.
  if (writable.length === 0 && settings.configFile === undefined) return undefined
  const path = await replyMemoryPath(settings, writable)
  try {
    await makeDirectory(dirname(path))
    return (await openIfSound(path)) ?? (await openAfresh(path, log))
  } catch (error) {
    log.error({ err: error, path }, 'cannot save NFS replies: a call that is retransmitted after a crash may run twice')
    return undefined
  }
}

async function replyMemoryPath(settings: Settings, views: readonly View[]): Promise<string> {
  return await serverStatePath(settings, 'nfs-replies', views, ({ name, overlay }) => [
    overlay.uuid,
    `${overlay.options.upperdir}\0${name}/`,
  ])
}

async function openIfSound(path: string): Promise<PersistentMemory | undefined> {
  try {
    const memory = await openPersistentMemory(path, REPLY_MEMORY_BYTES)
    if (isReplyMemory(memory.bytes)) return memory
    memory.close()
  } catch (error) {
    if (!isErrno(error, 'EINVAL')) throw error
  }
  return undefined
}

async function openAfresh(path: string, log: Logger): Promise<PersistentMemory> {
  const aside = `${path}.damaged`
  await rename(path, aside)
  log.warn({ path: aside }, 'the file of NFS replies is damaged and was set aside')
  return await openPersistentMemory(path, REPLY_MEMORY_BYTES)
}
