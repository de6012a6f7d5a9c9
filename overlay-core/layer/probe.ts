import type { MaybePromise, Name } from '../api/types.ts'
import { FileType } from '../api/types.ts'
import { O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { ABSENT, closeSync, openAtCached, openIfThere, WOULD_WAIT } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import type { InodeNumbers, Probe, Real } from './layer.ts'
import { withTrueLinks } from './true-links.ts'

/** How objects are opened to find out what they are. */
export const PROBE_FLAGS = O_PATH | O_NOFOLLOW

/** `probe` with the number that stands for the object in its layer. */
export function numbered(numbers: InodeNumbers, dir: Real, name: Name, { stat, fd }: Probe): MaybePromise<Probe> {
  const known = numbers.withStableNumber(dir, name, stat)
  return known instanceof Promise ? known.then((now) => ({ stat: now, fd })) : { stat: known, fd }
}

/** The object named `name` in `dirFd`, without following a symlink; with a descriptor if it is a directory. Undefined if there is none. */
export function probeAt(dirFd: number, name: Name, local: boolean): MaybePromise<Probe | undefined> {
  const fd = local ? openAtCached(dirFd, name, PROBE_FLAGS) : WOULD_WAIT
  if (fd === WOULD_WAIT) return probeWaiting(dirFd, name)
  return fd === ABSENT ? undefined : probed(fd)
}

async function probeWaiting(dirFd: number, name: Name): Promise<Probe | undefined> {
  const fd = await openIfThere(dirFd, name, PROBE_FLAGS)
  return fd === ABSENT ? undefined : probed(fd)
}

function probed(fd: number): Probe {
  let kept = false
  try {
    const stat = withTrueLinks(statxFd(fd))
    kept = stat.type === FileType.directory
    return { stat, fd: kept ? fd : -1 }
  } finally {
    if (!kept) closeSync(fd)
  }
}
