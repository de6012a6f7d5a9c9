import { type Attr, type ChangeInfo, FileType, type Inode, isErrno, OverlayError } from '../../../overlay-core/index.ts'
import { linked, made as madeOnce, moved, removed } from '../exports/earlier-run.ts'
import { decodeSettable } from './decode-attributes.ts'
import { FTYPE4 } from './encode-attributes.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { runIn } from './reruns.ts'
import { NF4BLK, NF4CHR, NF4DIR, NF4FIFO, NF4LNK, NF4SOCK } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const MAX_WIRE_TARGET = 64 * 1024
const DEFAULT_MODES: Readonly<Record<number, number>> = { [NF4DIR]: 0o700, [NF4LNK]: 0o777 }
const DEFAULT_MODE = 0o600
const SPECIAL: Readonly<Record<number, FileType>> = {
  [NF4BLK]: FileType.block,
  [NF4CHR]: FileType.character,
  [NF4SOCK]: FileType.socket,
  [NF4FIFO]: FileType.fifo,
}

/** @throws Nfs4Error GRACE names do not change while clients reclaim what they had */
export function refuseInGrace({ context }: Nfs4Call): void {
  if (context.grace.active) throw new Nfs4Error(STATUS.GRACE)
}

/** CREATE: makes a directory, symlink or special file. RFC 8881 section 18.4. */
export const create: Operation = {
  name: 'CREATE',
  async run(call) {
    const { args } = call
    const type = args.u32()
    const target = type === NF4LNK ? args.opaque(MAX_WIRE_TARGET) : undefined
    const isDevice = type === NF4BLK || type === NF4CHR
    const rdev = isDevice ? { major: args.u32(), minor: args.u32() } : { major: 0, minor: 0 }
    const special = SPECIAL[type]
    if (target === undefined && type !== NF4DIR && special === undefined) throw new Nfs4Error(STATUS.BADTYPE)
    const name = call.readName()
    const { mask, change } = decodeSettable(args)
    const dir = call.directory()
    const { served, inode, grant } = dir
    const info: ChangeInfo = {}
    const { size: _size, ...rest } = change
    const options = { mode: DEFAULT_MODES[type] ?? DEFAULT_MODE, ...rest }
    const run = runIn(call, dir, info)
    const wants = (attr: Attr, found: Inode) => isAsWanted(dir, { type, uid: change.uid, target, rdev }, attr, found)
    const made = await madeOnce(run, { dir: inode, name }, wants, () => {
      const { overlay } = served
      if (target !== undefined) return overlay.symlink(grant.cred, inode, name, target, options, info)
      if (special === undefined) return overlay.mkdir(grant.cred, inode, name, options, info)
      return overlay.mknod(grant.cred, inode, name, special, rdev, options, info)
    })
    call.keep(dir, inode, made)
    call.current.setObject(served, made, grant)
    call.currentStateid.clear()
    call.encodeChange(info)
    mask.write(call.out)
  },
}

/** Whether an object is what CREATE wanted to make, so that an earlier run of it may have made it. */
async function isAsWanted(
  { served, grant }: Target,
  wanted: {
    type: number
    uid: number | undefined
    target: Uint8Array | undefined
    rdev: { major: number; minor: number }
  },
  attr: Attr,
  found: Inode,
): Promise<boolean> {
  const { type, uid = grant.cred.uid, target, rdev } = wanted
  if (FTYPE4[attr.type] !== type || attr.uid !== uid) return false
  if (target !== undefined) return Buffer.compare(await served.overlay.readlink(grant.cred, found), target) === 0
  return attr.rdevMajor === rdev.major && attr.rdevMinor === rdev.minor
}

/** REMOVE: removes a name of an object of any kind; a directory must be empty. RFC 8881 section 18.25. */
export const remove: Operation = {
  name: 'REMOVE',
  async run(call) {
    const name = call.readName()
    const dir = call.directory()
    refuseInGrace(call)
    const { served, inode, grant } = dir
    const { overlay } = served
    const info: ChangeInfo = {}
    await removed(runIn(call, dir, info), { dir: inode, name }, async () => {
      const found = await overlay.lookup(grant.cred, inode, name)
      if (found === undefined) throw new OverlayError('ENOENT', 'remove', name)
      if (found.type === FileType.directory) await overlay.rmdir(grant.cred, inode, name, info)
      else await overlay.unlink(grant.cred, inode, name, info)
    })
    call.keep(dir, inode)
    call.encodeChange(info)
  },
}

/** RENAME: moves a name from the saved to the current directory, and replaces an object there. RFC 8881 section 18.26. */
export const rename: Operation = {
  name: 'RENAME',
  async run(call) {
    const fromName = call.readName()
    const toName = call.readName()
    const to = call.directory()
    const from = call.directory(call.saved)
    sameView(from, to)
    refuseInGrace(call)
    const fromInfo: ChangeInfo = {}
    const toInfo: ChangeInfo = {}
    const { overlay } = to.served
    const run = runIn(call, to, fromInfo, toInfo)
    const [source, target] = [
      { dir: from.inode, name: fromName },
      { dir: to.inode, name: toName },
    ]
    try {
      await moved(run, source, target, () =>
        overlay.rename(to.grant.cred, from.inode, fromName, to.inode, toName, { fromInfo, toInfo }),
      )
    } catch (error) {
      // Both directories are directories: the objects with the names are of different kinds.
      throw isErrno(error, 'ENOTDIR', 'EISDIR') ? new Nfs4Error(STATUS.EXIST) : error
    }
    call.keep(to, from.inode, to.inode)
    call.encodeChange(fromInfo)
    call.encodeChange(toInfo)
  },
}

/** LINK: gives the saved object another name, in the current directory. RFC 8881 section 18.9. */
export const link: Operation = {
  name: 'LINK',
  async run(call) {
    const name = call.readName()
    const dir = call.directory()
    const what = call.object(call.saved)
    sameView(what, dir)
    refuseInGrace(call)
    if (what.inode.type === FileType.directory) throw new Nfs4Error(STATUS.ISDIR)
    const info: ChangeInfo = {}
    await linked(runIn(call, dir, info), what.inode, { dir: dir.inode, name }, () =>
      dir.served.overlay.link(dir.grant.cred, what.inode, dir.inode, name, info),
    )
    call.keep(dir, dir.inode, what.inode)
    call.encodeChange(info)
  },
}

function sameView(one: Target, other: Target): void {
  if (one.served !== other.served) throw new Nfs4Error(STATUS.XDEV)
}
