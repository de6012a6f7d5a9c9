import { bestEffort, isErrno } from '../api/errno.ts'
import { FileType, type MaybePromise, type Name } from '../api/types.ts'
import type { Probe, Real } from '../layer/layer.ts'
import { storageOf, type UpperContext } from '../layer/upper-context.ts'
import { holdsAttributeWhiteouts, isWhiteoutDevice, removeTemp, removeTempDir } from '../layer/whiteout.ts'
import {
  isHidden,
  type NameState,
  ROOT_RECORD_NAME,
  type UpperMove,
  WHITEOUT,
  type WhiteoutFormat,
} from '../layer/whiteout-format.ts'
import { linkFd, mknodAt, renameAt, replaceByExchange, unlinkAt } from '../sys/dir.ts'
import { RENAME_EXCHANGE, RENAME_WHITEOUT, S_IFCHR } from '../sys/flags.ts'

/**
 * The kernel's format: a whiteout is a character device 0:0, and an opaque directory has an attribute. An empty file with an attribute is also read
 * as a whiteout, in a directory that is marked for it.
 */
export const deviceFormat: WhiteoutFormat = {
  whiteouts: 'device',
  replacesDirectories: false,
  reserves: (name) => name === ROOT_RECORD_NAME,
  hiddenBy: () => undefined,
  standingAt(context, dir, name) {
    const probe = context.descriptors.probe(dir, name)
    if (probe instanceof Promise) return probe.then((found) => understand(context, dir, name, found))
    return understand(context, dir, name, probe)
  },
  isOpaque: () => false,
  setOpaque: (context, dirFd, name) =>
    context.xattrStore.set(dirFd, name, context.overlayXattrs.opaque, Buffer.from('y')),

  async publish(context, temp, dir, name, directory, standing) {
    const workFd = await context.descriptors.of(context.work as Real)
    const dirFd = await context.descriptors.of(dir)
    const replace = directory ? RENAME_EXCHANGE : 0
    await renameAt(workFd, temp, dirFd, name, standing === undefined ? storageOf(context).noReplace : replace)
    if (directory && standing !== undefined) await removeTemp(context, temp)
  },

  async replace(context, temp, dir, name, standing) {
    const workFd = await context.descriptors.of(context.work as Real)
    const dirFd = await context.descriptors.of(dir)
    if (standing && storageOf(context).exchange && context.writeback.hasRoom) {
      await replaceByExchange(workFd, temp, dirFd, name)
      return true
    }
    await renameAt(workFd, temp, dirFd, name)
    return false
  },

  async link(context, source, dir, name) {
    const sourceFd = await context.descriptors.proven(source)
    const dirFd = await context.descriptors.of(dir)
    if (!(await isHidden(context, dir, name))) return await linkFd(sourceFd, dirFd, name)
    const temp = context.tempName()
    const workFd = await context.descriptors.of(context.work as Real)
    await linkFd(sourceFd, workFd, temp)
    try {
      await renameAt(workFd, temp, dirFd, name)
    } catch (error) {
      await removeTemp(context, temp)
      throw error
    }
  },

  async cover(context, dir, name, present) {
    const workFd = await context.descriptors.of(context.work as Real)
    const dirFd = await context.descriptors.of(dir)
    const whiteout = await makeWhiteout(context)
    try {
      if (present !== FileType.directory) {
        await renameAt(workFd, whiteout, dirFd, name)
        return undefined
      }
      await renameAt(workFd, whiteout, dirFd, name, RENAME_EXCHANGE)
      return whiteout
    } catch (error) {
      await removeTemp(context, whiteout)
      throw error
    }
  },

  async uncover(context, dir, name) {
    await unlinkAt(await context.descriptors.of(dir), name)
  },

  async move(context, move) {
    const { from, fromName, to, toName, directory, cover } = move
    const fromFd = await context.descriptors.of(from)
    const toFd = await context.descriptors.of(to)
    if (directory && (await isHidden(context, to, toName))) {
      await renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE)
      // A whiteout that hides nothing is harmless.
      if (!cover) await bestEffort(() => unlinkAt(fromFd, fromName))
    } else if (cover) await moveLeavingWhiteout(context, move)
    else await renameAt(fromFd, fromName, toFd, toName)
  },

  async exchange(context, a, aName, b, bName) {
    const aFd = await context.descriptors.of(a)
    await renameAt(aFd, aName, await context.descriptors.of(b), bName, RENAME_EXCHANGE)
  },
}

function understand(context: UpperContext, dir: Real, name: Name, probe: Probe | undefined): MaybePromise<NameState> {
  if (probe === undefined) return undefined
  if (isWhiteoutDevice(probe.stat)) return WHITEOUT
  if (dir.xwhiteouts === false || probe.stat.type !== FileType.regular || probe.stat.size !== 0) return probe
  return readAttribute(context, dir, name, probe)
}

async function readAttribute(context: UpperContext, dir: Real, name: Name, probe: Probe): Promise<NameState> {
  if (!(await holdsAttributeWhiteouts(context, dir))) return probe
  const mark = await context.xattrStore.get(await context.descriptors.of(dir), name, context.overlayXattrs.whiteout)
  return mark === undefined ? probe : WHITEOUT
}

/** Creates a whiteout in the work directory and returns its name there. */
async function makeWhiteout(context: UpperContext): Promise<Name> {
  const name = context.tempName()
  await mknodAt(await context.descriptors.of(context.work as Real), name, S_IFCHR, 0, 0)
  return name
}

/** Moves an object and leaves a whiteout at the old name, atomically if the file system supports that. */
async function moveLeavingWhiteout(context: UpperContext, move: UpperMove): Promise<void> {
  const fromFd = await context.descriptors.of(move.from)
  const toFd = await context.descriptors.of(move.to)
  try {
    await renameAt(fromFd, move.fromName, toFd, move.toName, RENAME_WHITEOUT)
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EPERM', 'ENOSYS')) throw error
    await exchangeForWhiteout(context, move)
  }
}

/**
 * Does the same without RENAME_WHITEOUT, in two steps, of which only the second is visible if nothing is replaced. A replaced target is
 * first exchanged with the source, so that a crash in between loses neither.
 */
async function exchangeForWhiteout(context: UpperContext, { from, fromName, to, toName }: UpperMove): Promise<void> {
  const fromFd = await context.descriptors.of(from)
  const toFd = await context.descriptors.of(to)
  const target = await context.descriptors.probe(to, toName)
  if (target && target.fd >= 0) context.descriptors.retire(target.fd)
  if (!target) await deviceFormat.cover(context, to, toName, undefined)
  try {
    await renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE)
  } catch (error) {
    if (!target) await bestEffort(() => unlinkAt(toFd, toName))
    throw error
  }
  if (!target || isWhiteoutDevice(target.stat)) return
  try {
    const replaced = await deviceFormat.cover(context, from, fromName, target.stat.type)
    if (replaced !== undefined) await removeTempDir(context, replaced)
  } catch (error) {
    await bestEffort(() => renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE))
    throw error
  }
}
