import { after, FileType, type LookupAttrs, type MaybePromise } from '../../../overlay-core/index.ts'
import type { MemberView, NfsExport } from '../exports/export-table.ts'
import type { NfsMember } from '../exports/served-view.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const NOTHING_ASKED: LookupAttrs | undefined = undefined

/** LOOKUP: goes from a directory to the object with a name in it. RFC 8881 section 18.13. */
export const lookup: Operation = {
  name: 'LOOKUP',
  run(call) {
    const name = call.readName()
    call.currentStateid.clear()
    return enterName(call, name)
  },
}

/** Makes the object with a name in the current directory the current one. @throws Nfs4Error · OverlayError */
export function enterName(call: Nfs4Call, name: string): MaybePromise<void> {
  if (call.current.kind === 'root') return enterExport(call, name)
  const dir = call.object()
  const { served, inode, grant } = dir
  if (inode.type === FileType.symlink) throw new Nfs4Error(STATUS.SYMLINK)
  if (inode.type !== FileType.directory) throw new Nfs4Error(STATUS.NOTDIR)
  if (served.members !== undefined) return enterView(call, dir, name)
  return after(served.overlay.lookup(grant.cred, inode, name, NOTHING_ASKED), (found) => {
    if (found === undefined) return enterHidden(call, dir, name)
    call.current.setObject(served, found, grant)
  })
}

/** An export, whose path is a name in the pseudo-root. Those without a rule for the client do not exist for it. */
function enterExport(call: Nfs4Call, name: string): void {
  const { context, rpc } = call
  const served = context.root.find(name, rpc.peer)
  if (served === undefined) throw new Nfs4Error(STATUS.NOENT)
  const grant = served.grant(rpc.peer, rpc.credential)
  if (grant === undefined) {
    // The client can come back with protection, but not from another port.
    throw new Nfs4Error(served.ruleForMount(rpc.peer) === undefined ? STATUS.ACCESS : STATUS.WRONGSEC)
  }
  call.current.setObject(served, served.overlay.root, grant)
}

/** A view behind a name that listings do not show. @throws Nfs4Error NOENT there is none */
function enterHidden(call: Nfs4Call, { served, inode }: Target, name: string): Promise<void> {
  const hidden = inode === served.overlay.root ? served.member?.hidden?.(name) : undefined
  if (hidden === undefined) throw new Nfs4Error(STATUS.NOENT)
  return enterMember(call, (served as MemberView).template, hidden, false)
}

/** A view in the root of its template, made if the template allows it, as by MOUNT. Views that the caller may not use do not exist for it, except to mount them. */
async function enterView(call: Nfs4Call, { served }: Target, name: string): Promise<void> {
  const member = await served.members!.find(name, call.rpc.peer, true)
  if (member === undefined) throw new Nfs4Error(STATUS.NOENT)
  await enterMember(call, served as NfsExport, member, true)
}

/** @param mounts whether root may mount it for its user */
async function enterMember(call: Nfs4Call, template: NfsExport, member: NfsMember, mounts: boolean): Promise<void> {
  const { context, rpc } = call
  const view = context.exports.memberView(member, template)
  const grant = view.grant(rpc.peer, rpc.credential)
  const admitted = grant !== undefined && member.admits(grant.cred, rpc.peer)
  const mayMount = mounts && rpc.credential.uid === 0 && rpc.peer.identity?.kind !== 'user'
  if (!admitted && !mayMount) throw new Nfs4Error(STATUS.NOENT)
  await call.use(view)
  call.enter(view, view.overlay.root)
}
