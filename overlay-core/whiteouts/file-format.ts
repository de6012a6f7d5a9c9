import { bestEffort, isErrno, OverlayError } from '../api/errno.ts'
import { FileType, type MaybePromise, type Name } from '../api/types.ts'
import type { IntentLog, UpperName } from '../layer/intent-log.ts'
import type { Probe, Real } from '../layer/layer.ts'
import { storageOf, type UpperContext } from '../layer/upper-context.ts'
import { isHidden, type NameState, WHITEOUT, type WhiteoutFormat } from '../layer/whiteout-format.ts'
import { clearWorkDir } from '../layer/workdir.ts'
import { utimesAt } from '../sys/attr.ts'
import { linkFd, mknodAt, renameAt, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, RENAME_EXCHANGE, S_IFREG } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import { deviceFormat } from './device-format.ts'

const PREFIX = '.wh.'
/** The prefix of AUFS marks that are not whiteouts but describe the directory they are in. */
const OWN_PREFIX = '.wh..wh.'
const OPAQUE = '.wh..wh..opq'
const MARK_MODE = 0o644
const NAME_MAX_BYTES = 255

/** The file that hides `name`. */
export function whiteoutFor(name: Name): Name {
  return PREFIX + name
}

/**
 * The format of AUFS, OCI image layers and fuse-overlayfs, for file systems without device nodes or attributes: a whiteout of NAME is a file
 * `.wh.NAME`, and an opaque directory contains a file `.wh..wh..opq`. If a name has both an object and a whiteout, the object counts, so
 * each change becomes visible at exactly one of its steps; the next mount removes what a crash leaves (`IntentLog`). Devices 0:0 are read too.
 */
export const fileFormat: WhiteoutFormat = {
  whiteouts: 'files',
  replacesDirectories: true,
  reserves: (name) => name.startsWith(PREFIX),
  hiddenBy: (name) => (name.startsWith(PREFIX) && !name.startsWith(OWN_PREFIX) ? name.slice(PREFIX.length) : undefined),
  standingAt(context, dir, name) {
    if (name.startsWith(PREFIX)) return undefined
    const standing = deviceFormat.standingAt(context, dir, name)
    if (standing instanceof Promise) return standing.then((found) => found ?? hiddenAt(context, dir, name))
    return standing ?? hiddenAt(context, dir, name)
  },
  isOpaque(context, dir) {
    const probe = context.descriptors.probe(dir, OPAQUE)
    if (probe instanceof Promise) return probe.then((found) => isMark(context, found))
    return isMark(context, probe)
  },

  async setOpaque(_context, dirFd, name) {
    const fd = await openAt(dirFd, name === '' ? '.' : name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      const { atime, mtime } = statxFd(fd)
      await makeMark(fd, OPAQUE)
      await utimesAt(fd, '', atime, mtime)
    } finally {
      closeSync(fd)
    }
  },

  async publish(context, temp, dir, name, _directory, standing) {
    const to = { dir, name }
    const rename = () => moveName(context, { dir: context.work as Real, name: temp }, to, storageOf(context).noReplace)
    await (standing === undefined ? rename() : overWhiteout(context, to, rename))
  },

  async replace(context, temp, dir, name) {
    const to = { dir, name }
    const rename = () => moveName(context, { dir: context.work as Real, name: temp }, to)
    await ((await isHidden(context, dir, name)) ? overWhiteout(context, to, rename) : rename())
    return false
  },

  async link(context, source, dir, name) {
    const sourceFd = await context.descriptors.proven(source)
    const dirFd = await context.descriptors.of(dir)
    const [from, to] = [
      { dir: source.parent as Real, name: source.name },
      { dir, name },
    ]
    const link = () => context.xattrStore.linking(from, to, () => linkFd(sourceFd, dirFd, name))
    await ((await isHidden(context, dir, name)) ? overWhiteout(context, to, link) : link())
  },

  async cover(context, dir, name, present) {
    const workFd = await context.descriptors.of(context.work as Real)
    const dirFd = await context.descriptors.of(dir)
    const remove = async () => {
      if (present === undefined) return undefined
      const aside = present === FileType.directory ? context.tempName() : undefined
      await (aside === undefined ? unlinkAt(dirFd, name) : renameAt(dirFd, name, workFd, aside))
      return aside
    }
    return await intentsOf(context).noting([{ dir, name }], () => marking(dirFd, name, remove))
  },

  async uncover(context, dir, name) {
    const dirFd = await context.descriptors.of(dir)
    const device = (await deviceFormat.standingAt(context, dir, name)) === WHITEOUT
    if (device) await unlinkAt(dirFd, name)
    try {
      await unlinkAt(dirFd, whiteoutFor(name))
    } catch (error) {
      if (!device || !isErrno(error, 'ENOENT')) throw error
    }
  },

  async move(context, move) {
    const { replacesDirectory, cover } = move
    const from = { dir: move.from, name: move.fromName }
    const to = { dir: move.to, name: move.toName }
    const hidden = !replacesDirectory && (await isHidden(context, to.dir, to.name))
    const rename = () => (replacesDirectory ? overDirectory(context, from, to) : moveName(context, from, to))
    const moved = () => (hidden ? overWhiteout(context, to, rename) : rename())
    if (!cover) return await moved()
    const fromFd = await context.descriptors.of(from.dir)
    await intentsOf(context).noting([from], () => marking(fromFd, from.name, moved))
  },

  async exchange(context, aDir, aName, bDir, bName) {
    const [a, b] = [
      { dir: aDir, name: aName },
      { dir: bDir, name: bName },
    ]
    if (storageOf(context).exchange) return await moveName(context, a, b, RENAME_EXCHANGE)
    await intentsOf(context).holding([a, b], async (name) => {
      const held = { dir: context.work as Real, name }
      const back = () => moveName(context, held, a)
      await moveName(context, a, held)
      await orElse(() => moveName(context, b, a), back)
      await orElse(
        () => moveName(context, held, b),
        async () => {
          await moveName(context, a, b)
          await back()
        },
      )
    })
  },
}

function intentsOf(context: UpperContext): IntentLog {
  return context.intents as IntentLog
}

function hiddenAt(context: UpperContext, dir: Real, name: Name): MaybePromise<NameState> {
  // Such a name cannot be hidden, because there is no space for the prefix.
  if (name.length + PREFIX.length > NAME_MAX_BYTES) return undefined
  const probe = context.descriptors.probe(dir, whiteoutFor(name))
  if (probe instanceof Promise) return probe.then((found) => (isMark(context, found) ? WHITEOUT : undefined))
  return isMark(context, probe) ? WHITEOUT : undefined
}

/** A directory with the name of a mark is not a mark. */
function isMark(context: UpperContext, probe: Probe | undefined): boolean {
  if (probe && probe.fd >= 0) context.descriptors.retire(probe.fd)
  return probe?.stat.type === FileType.regular
}

async function makeMark(dirFd: number, mark: Name): Promise<void> {
  try {
    await mknodAt(dirFd, mark, S_IFREG | MARK_MODE, 0, 0)
  } catch (error) {
    // A change that was interrupted before it could remove the mark has left it.
    if (!isErrno(error, 'EEXIST')) throw error
  }
}

/** Creates the whiteout of `name` and then makes `change`, which removes the object at the name, so that the whiteout takes effect. */
async function marking<T>(dirFd: number, name: Name, change: () => Promise<T>): Promise<T> {
  await makeMark(dirFd, whiteoutFor(name))
  return await orElse(change, () => unlinkAt(dirFd, whiteoutFor(name)))
}

/** Makes `change`, which puts an object at the hidden name so that its whiteout has no effect, and then removes the whiteout. */
async function overWhiteout(context: UpperContext, at: UpperName, change: () => Promise<void>): Promise<void> {
  const { dir, name } = at
  const dirFd = await context.descriptors.of(dir)
  await intentsOf(context).noting([at], async () => {
    await toFile(context, dir, name)
    await change()
    await bestEffort(() => unlinkAt(dirFd, whiteoutFor(name)))
  })
}

/** Replaces a whiteout in the kernel's format, which would be in the way, by a file. */
async function toFile(context: UpperContext, dir: Real, name: Name): Promise<void> {
  const device = await context.descriptors.probe(dir, name)
  if (!device) return
  if (device.fd >= 0) {
    context.descriptors.retire(device.fd)
    throw new OverlayError('EEXIST', 'rename', name)
  }
  const dirFd = await context.descriptors.of(dir)
  await makeMark(dirFd, whiteoutFor(name))
  await unlinkAt(dirFd, name)
}

/** Renames an object, together with its attributes if they are stored by name. */
async function moveName(context: UpperContext, from: UpperName, to: UpperName, flags = 0): Promise<void> {
  const fromFd = await context.descriptors.of(from.dir)
  const toFd = await context.descriptors.of(to.dir)
  await context.xattrStore.moving(from, to, () => renameAt(fromFd, from.name, toFd, to.name, flags))
}

/** Moves a directory onto one that looks empty. If that contains marks, it is first moved to the work directory. */
async function overDirectory(context: UpperContext, from: UpperName, to: UpperName): Promise<void> {
  try {
    return await moveName(context, from, to)
  } catch (error) {
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error
  }
  const workFd = await context.descriptors.of(context.work as Real)
  const toFd = await context.descriptors.of(to.dir)
  await intentsOf(context).holding([to], async (held) => {
    await renameAt(toFd, to.name, workFd, held)
    await orElse(
      () => moveName(context, from, to),
      () => renameAt(workFd, held, toFd, to.name),
    )
    await clearWorkDir(context, held)
  })
}

/** Makes `change`. If it fails, runs `undo` as far as possible and rethrows the error. */
async function orElse<T>(change: () => Promise<T>, undo: () => MaybePromise<void>): Promise<T> {
  try {
    return await change()
  } catch (error) {
    await bestEffort(undo)
    throw error
  }
}
