import { bestEffort, isErrno } from '../api/errno.ts'
import { FileType, type MaybePromise, type Name } from '../api/types.ts'
import type { Probe, Real } from '../layer/layer.ts'
import { isWhiteoutDevice, removeTemp, removeTempDir } from '../layer/whiteout.ts'
import {
  isHidden,
  type NameState,
  ROOT_RECORD_NAME,
  type UpperMove,
  WHITEOUT,
  type WhiteoutFormat,
} from '../layer/whiteout-format.ts'
import { holdsAttributeWhiteouts } from '../lookup/marks.ts'
import { type SuperBlock, storageOf } from '../objects/superblock.ts'
import { linkAt, mknodAt, renameAt, replaceByExchange, unlinkAt } from '../sys/dir.ts'
import { RENAME_EXCHANGE, RENAME_WHITEOUT, S_IFCHR } from '../sys/flags.ts'

/**
 * The kernel's form: a whiteout is a character device 0:0 (also read: an empty file with an attribute, in a directory that says so), an
 * opaque directory has an attribute.
 */
export const deviceFormat: WhiteoutFormat = {
  whiteouts: 'device',
  replacesDirectories: false,
  reserves: (name) => name === ROOT_RECORD_NAME,
  hiddenBy: () => undefined,
  standingAt(sb, dir, name) {
    const probe = sb.descriptors.probe(dir, name)
    if (probe instanceof Promise) return probe.then((found) => understand(sb, dir, name, found))
    return understand(sb, dir, name, probe)
  },
  isOpaque: () => false,
  setOpaque: (sb, dirFd, name) => sb.xattrStore.set(dirFd, name, sb.overlayXattrs.opaque, Buffer.from('y')),

  async publish(sb, temp, dir, name, directory, standing) {
    const workFd = await sb.descriptors.of(sb.work as Real)
    const dirFd = await sb.descriptors.of(dir)
    const replace = directory ? RENAME_EXCHANGE : 0
    await renameAt(workFd, temp, dirFd, name, standing === undefined ? storageOf(sb).noReplace : replace)
    if (directory && standing !== undefined) await removeTemp(sb, temp)
  },

  async replace(sb, temp, dir, name, standing) {
    const workFd = await sb.descriptors.of(sb.work as Real)
    const dirFd = await sb.descriptors.of(dir)
    if (standing && storageOf(sb).exchange && sb.writeback.hasRoom) {
      await replaceByExchange(workFd, temp, dirFd, name)
      return true
    }
    await renameAt(workFd, temp, dirFd, name)
    return false
  },

  async link(sb, source, dir, name) {
    const sourceFd = await sb.descriptors.of(source.parent as Real)
    const dirFd = await sb.descriptors.of(dir)
    if (!(await isHidden(sb, dir, name))) return await linkAt(sourceFd, source.name, dirFd, name)
    const temp = sb.tempName()
    const workFd = await sb.descriptors.of(sb.work as Real)
    await linkAt(sourceFd, source.name, workFd, temp)
    try {
      await renameAt(workFd, temp, dirFd, name)
    } catch (error) {
      await removeTemp(sb, temp)
      throw error
    }
  },

  async cover(sb, dir, name, present) {
    const workFd = await sb.descriptors.of(sb.work as Real)
    const dirFd = await sb.descriptors.of(dir)
    const whiteout = await makeWhiteout(sb)
    try {
      if (present !== FileType.directory) {
        await renameAt(workFd, whiteout, dirFd, name)
        return undefined
      }
      await renameAt(workFd, whiteout, dirFd, name, RENAME_EXCHANGE)
      return whiteout
    } catch (error) {
      await removeTemp(sb, whiteout)
      throw error
    }
  },

  async uncover(sb, dir, name) {
    await unlinkAt(await sb.descriptors.of(dir), name)
  },

  async move(sb, move) {
    const { from, fromName, to, toName, directory, cover } = move
    const fromFd = await sb.descriptors.of(from)
    const toFd = await sb.descriptors.of(to)
    if (directory && (await isHidden(sb, to, toName))) {
      await renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE)
      // A whiteout that covers nothing shows nothing.
      if (!cover) await bestEffort(() => unlinkAt(fromFd, fromName))
    } else if (cover) await moveLeavingWhiteout(sb, move)
    else await renameAt(fromFd, fromName, toFd, toName)
  },

  async exchange(sb, a, aName, b, bName) {
    const aFd = await sb.descriptors.of(a)
    await renameAt(aFd, aName, await sb.descriptors.of(b), bName, RENAME_EXCHANGE)
  },
}

function understand(sb: SuperBlock, dir: Real, name: Name, probe: Probe | undefined): MaybePromise<NameState> {
  if (probe === undefined) return undefined
  if (isWhiteoutDevice(probe.stat)) return WHITEOUT
  if (dir.xwhiteouts === false || probe.stat.type !== FileType.regular || probe.stat.size !== 0) return probe
  return readAttribute(sb, dir, name, probe)
}

async function readAttribute(sb: SuperBlock, dir: Real, name: Name, probe: Probe): Promise<NameState> {
  if (!(await holdsAttributeWhiteouts(sb, dir))) return probe
  const mark = await sb.xattrStore.get(await sb.descriptors.of(dir), name, sb.overlayXattrs.whiteout)
  return mark === undefined ? probe : WHITEOUT
}

/** Makes a whiteout in the work directory and returns its name there. */
async function makeWhiteout(sb: SuperBlock): Promise<Name> {
  const name = sb.tempName()
  await mknodAt(await sb.descriptors.of(sb.work as Real), name, S_IFCHR, 0, 0)
  return name
}

/** Moves and leaves a whiteout at the old name, atomically where the file system can. */
async function moveLeavingWhiteout(sb: SuperBlock, move: UpperMove): Promise<void> {
  const fromFd = await sb.descriptors.of(move.from)
  const toFd = await sb.descriptors.of(move.to)
  try {
    await renameAt(fromFd, move.fromName, toFd, move.toName, RENAME_WHITEOUT)
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EPERM', 'ENOSYS')) throw error
    await exchangeForWhiteout(sb, move)
  }
}

/**
 * The same where there is no RENAME_WHITEOUT: in two steps, of which only the second is seen when nothing is replaced. A target that is
 * replaced changes places with the source first, so that a crash in between loses neither.
 */
async function exchangeForWhiteout(sb: SuperBlock, { from, fromName, to, toName }: UpperMove): Promise<void> {
  const fromFd = await sb.descriptors.of(from)
  const toFd = await sb.descriptors.of(to)
  const target = await sb.descriptors.probe(to, toName)
  if (target && target.fd >= 0) sb.descriptors.retire(target.fd)
  if (!target) await deviceFormat.cover(sb, to, toName, undefined)
  try {
    await renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE)
  } catch (error) {
    if (!target) await bestEffort(() => unlinkAt(toFd, toName))
    throw error
  }
  if (!target || isWhiteoutDevice(target.stat)) return
  try {
    const replaced = await deviceFormat.cover(sb, from, fromName, target.stat.type)
    if (replaced !== undefined) await removeTempDir(sb, replaced)
  } catch (error) {
    await bestEffort(() => renameAt(fromFd, fromName, toFd, toName, RENAME_EXCHANGE))
    throw error
  }
}
