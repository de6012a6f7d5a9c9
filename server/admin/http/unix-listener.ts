import { once } from 'node:events'
import { chmod, chown, lstat, mkdtemp, rename, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { basename, dirname, join } from 'node:path'
import { OptionError } from '../../../overlay-core/index.ts'
import { groupByName } from '../../groups.ts'
import { socketPath } from '../api/socket-path.ts'

/** Listens at a socket with mode 0600. One that another process of the same id has left is replaced. Returns what to do when the server is closed. */
export async function listenAt(http: Server, socket: string): Promise<() => Promise<void>> {
  await rm(socket, { force: true })
  const short = await socketPath(socket)
  try {
    http.listen({ path: short.path })
    await once(http, 'listening')
    await chmod(socket, 0o600)
    return short.close
  } catch (error) {
    http.close()
    await short.close()
    throw error
  }
}

/**
 * Listens at a socket in a directory that others may enter: with mode 0600, or 0660 for a group. It is made in a directory of its own and gets its name when
 * its mode and group are right; one that a crash has left is replaced. Returns what removes it.
 *
 * @throws OptionError naming `admin.socket` or `admin.group`
 */
export async function listenInPublic(
  http: Server,
  socket: string,
  group: string | undefined,
): Promise<() => Promise<void>> {
  const gid = group === undefined ? undefined : await gidOf(group)
  await refuseOtherFile(socket)
  const hidden = await mkdtemp(join(dirname(socket), '.overlayd-')).catch((error) => {
    throw new OptionError('admin.socket', `cannot be made in ${dirname(socket)}: ${error.code}; make the directory`)
  })
  const made = join(hidden, basename(socket))
  try {
    const closePath = await listenAt(http, made)
    try {
      if (gid !== undefined) await giveToGroup(made, gid, group as string)
      await rename(made, socket)
    } catch (error) {
      http.close()
      throw error
    } finally {
      await closePath()
    }
  } finally {
    await rm(hidden, { recursive: true, force: true })
  }
  return () => rm(socket, { force: true })
}

async function gidOf(group: string): Promise<number> {
  const gid = await groupByName(group)
  if (gid !== undefined) return gid
  throw new OptionError('admin.group', `this machine has no group ${JSON.stringify(group)}; make it with groupadd`)
}

async function giveToGroup(path: string, gid: number, group: string): Promise<void> {
  try {
    await chown(path, -1, gid)
    await chmod(path, 0o660)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
    throw new OptionError('admin.group', `the user of the server is not in ${group}; add it, or run the server as root`)
  }
}

async function refuseOtherFile(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
  })
  if (found === undefined || found.isSocket()) return
  throw new OptionError('admin.socket', `${path} exists and is no socket; choose another path, or remove it`)
}
