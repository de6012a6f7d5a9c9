import { type Errno, FileType, type Inode, isErrno } from '../../../overlay-core/index.ts'
import type { NfsExport } from '../exports/export-table.ts'
import { OWN_VIEW, type ViewNumber } from '../exports/file-handle.ts'
import type { Grant, NfsCaller, NfsMember, ServedView } from '../exports/served-view.ts'
import type { RpcCall } from '../rpc/call.ts'
import { AUTH_SYS } from '../rpc/constants.ts'
import {
  MNT3_OK,
  MNT3ERR_ACCES,
  MNT3ERR_INVAL,
  MNT3ERR_IO,
  MNT3ERR_NAMETOOLONG,
  MNT3ERR_NOENT,
  MNT3ERR_NOTDIR,
  MNT3ERR_SERVERFAULT,
  MNTPATHLEN,
} from './constants.ts'
import { walkExport } from './export-walk.ts'
import type { MountContext } from './mount-context.ts'

/** The name of the caller's own view in a template. */
const SELF = 'self'

const STATUS: Partial<Record<Errno, number>> = {
  EACCES: MNT3ERR_ACCES,
  EINVAL: MNT3ERR_INVAL,
  EIO: MNT3ERR_IO,
  ELOOP: MNT3ERR_INVAL,
  ENAMETOOLONG: MNT3ERR_NAMETOOLONG,
  ENOENT: MNT3ERR_NOENT,
  ESTALE: MNT3ERR_NOENT,
  ENOTDIR: MNT3ERR_NOTDIR,
}

/**
 * MOUNTPROC3_MNT: the file handle of an export or of a directory inside it. RFC 1813 section 5.2.1.
 *
 * The path is walked with the caller's rights, as in LOOKUP: in directories that it may not search it learns no names and gets no handles. Symlinks are followed
 * inside the export (`walkExport`).
 */
export async function mnt(context: MountContext, call: RpcCall): Promise<void> {
  const path = call.args.string(MNTPATHLEN)
  const { peer, credential } = call
  const found = context.exports.byPath(path)
  if (found === undefined) return refuse(call, MNT3ERR_NOENT)
  const { served, rest } = found
  const grant = served.grant(peer, credential)
  try {
    if (rest[0] === SELF && comesBackCertified(served, call)) return answerHandle(context, call, path, served, OWN_VIEW)
    if (grant === undefined) return await mountUnprotected(context, call, path, found)
    if (served.members === undefined || rest.length === 0)
      return await answer(context, call, path, { view: served, names: rest, above: [served.name] }, grant)
    await mountMember(context, call, path, found)
  } catch (error) {
    if (!isErrno(error)) throw error
    refuse(call, STATUS[error.code] ?? MNT3ERR_SERVERFAULT)
  }
}

/** Whether a client that asks for its own view, and has not said who it is, may do so by a certificate on the connections that it uses afterwards. */
function comesBackCertified(served: NfsExport, { peer }: RpcCall): boolean {
  const rule = served.ruleForMount(peer)
  return (
    served.members !== undefined && peer.identity === undefined && rule !== undefined && served.takesCertificates(rule)
  )
}

/**
 * Answers a client whose connection is not protected as the export wants: the handle of a root, which opens nothing without that protection. It learns no names, and no
 * view is made.
 */
async function mountUnprotected(
  context: MountContext,
  call: RpcCall,
  path: string,
  { served, rest }: { served: NfsExport; rest: readonly string[] },
): Promise<void> {
  if (served.ruleForMount(call.peer) === undefined) return refuse(call, MNT3ERR_ACCES)
  if (rest.length === 0) return answerHandle(context, call, path, served, served.overlay.root)
  if (served.members === undefined || rest.length > 1) return refuse(call, MNT3ERR_ACCES)
  const member = await served.members.find(rest[0] as string, call.peer, false)
  if (member === undefined) return refuse(call, MNT3ERR_ACCES)
  const view = context.exports.memberView(member, served)
  await view.use()
  try {
    answerHandle(context, call, path, view, view.overlay.root)
  } finally {
    member.release()
  }
}

/** Mounts a view of a template, which is made if the template allows it. Anybody may mount its root, because clients mount as root. */
async function mountMember(
  context: MountContext,
  call: RpcCall,
  path: string,
  { served, rest: [name = '', ...below] }: { served: NfsExport; rest: readonly string[] },
): Promise<void> {
  const { peer } = call
  const made = await served.members!.find(name, peer, true)
  if (made === undefined) return refuse(call, MNT3ERR_NOENT)
  const { member, names } = await innermost(made, below, peer)
  const view = context.exports.memberView(member, served)
  const grant = view.grant(call.peer, call.credential)
  if (grant === undefined || ((names.length > 0 || peer.identity !== undefined) && !member.admits(grant.cred, peer)))
    return refuse(call, MNT3ERR_ACCES)
  await view.use()
  try {
    const way = below.slice(0, below.length - names.length)
    await answer(context, call, path, { view, names, above: [served.name, name, ...way] }, grant)
  } finally {
    member.release()
  }
}

/** The last view on the way from a view along names that lead from it to others, and the names that are left. */
async function innermost(
  member: NfsMember,
  names: readonly string[],
  caller: NfsCaller,
): Promise<{ member: NfsMember; names: readonly string[] }> {
  const [first, ...rest] = names
  if (first === undefined) return { member, names }
  const inner = member.members ? await member.members.find(first, caller, false) : member.hidden?.(first)
  return inner ? await innermost(inner, rest, caller) : { member, names }
}

/** A directory to mount: its names in a view, and those of the path that lead to the view. */
interface MountTarget {
  readonly view: ServedView
  readonly names: readonly string[]
  readonly above: readonly string[]
}

async function answer(
  context: MountContext,
  call: RpcCall,
  path: string,
  { view, names, above }: MountTarget,
  grant: Grant,
): Promise<void> {
  const { overlay } = view
  const inside = (target: string) => {
    const there = context.exports.byPath(target)
    const whole = there === undefined ? [] : [there.served.name, ...there.rest]
    return above.every((name, i) => whole[i] === name) ? whole.slice(above.length) : undefined
  }
  const target = await walkExport({ overlay, cred: grant.cred, inside }, names)
  if (target === undefined) return refuse(call, MNT3ERR_NOENT)
  if (target.type !== FileType.directory) return refuse(call, MNT3ERR_NOTDIR)
  overlay.retain(target)
  await context.handleSaver.saved(overlay)
  answerHandle(context, call, path, view, target)
}

function answerHandle(
  context: MountContext,
  call: RpcCall,
  path: string,
  view: ViewNumber,
  object: Pick<Inode, 'key' | 'generation'>,
): void {
  context.mounts.add(call.peer.address, path)
  const out = call.begin(128)
  out.u32(MNT3_OK)
  out.opaque(context.handles.encode(view, object))
  out.u32(1)
  out.u32(AUTH_SYS)
}

function refuse(call: RpcCall, status: number): void {
  call.begin(4).u32(status)
}
