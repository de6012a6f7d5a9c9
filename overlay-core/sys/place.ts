import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isErrno } from '../api/errno.ts'
import { mountTable } from './mount-table.ts'
import { closeSync, openRoot } from './open.ts'
import { pathOfFd } from './path.ts'
import { statxFd } from './stat.ts'

/** A position on a file system itself, independent of the mount and symlinks in the path. */
export interface Place {
  readonly fileSystem: string
  readonly path: string
}

const CAP_SYS_ADMIN = 21n

/**
 * The places of `path`, which need not exist yet: first its own, then those of the mount points of the mounts above it, up to the root. A file
 * that does not exist counts as lying in its directory. Empty if the system does not tell.
 */
export async function placesOf(path: string): Promise<Place[]> {
  const { directory, rest } = await nearestDirectory(path)
  const fd = await openRoot(directory)
  try {
    return await placesOfFd(fd, rest)
  } finally {
    closeSync(fd)
  }
}

/** Like `placesOf`, for the open directory `fd` or the path `rest` in it, which need not exist. */
export async function placesOfFd(fd: number, rest = ''): Promise<Place[]> {
  const { mountId } = statxFd(fd)
  const places: Place[] = []
  const mounts = await mountTable()
  let below = join(pathOfFd(fd), rest)
  let mount = mounts.get(mountId)
  while (mount !== undefined && isAtOrBelow(below, mount.point)) {
    places.push({ fileSystem: mount.fileSystem, path: join(mount.root, below.slice(mount.point.length)) })
    below = mount.point
    const parent = mounts.get(mount.parent)
    mount = parent === mount ? undefined : parent
  }
  return places
}

/** Whether the first place of `inner` is in `outer` or equal to it; with `through` also if a mount inside `outer` leads there. */
export function liesIn(inner: readonly Place[], outer: readonly Place[], through: boolean): boolean {
  const [own] = outer
  if (own === undefined) return false
  const seen = through ? inner : inner.slice(0, 1)
  return seen.some((place) => place.fileSystem === own.fileSystem && isAtOrBelow(place.path, own.path))
}

/** Whether clients see file systems that are mounted inside a lower: see `openPrivateRoot`. */
export async function showsInnerMounts(): Promise<boolean> {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'latin1'))?.[1] ?? '0'
  return ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 0n
}

async function nearestDirectory(path: string): Promise<{ directory: string; rest: string }> {
  let rest = ''
  for (let directory = path; ; directory = dirname(directory)) {
    try {
      closeSync(await openRoot(directory))
      return { directory, rest }
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR') || directory === dirname(directory)) throw error
      rest = join(directory.slice(dirname(directory).length), rest)
    }
  }
}

function isAtOrBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`)
}
