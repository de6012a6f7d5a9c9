import { after, type Inode, type LookupAttrs, type MaybePromise } from '../../../overlay-core/index.ts'
import { MemberView, type NfsExport } from '../exports/export-table.ts'
import type { NfsMember } from '../exports/served-view.ts'
import { encodeHandle, encodePostOpAttr } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_NOENT } from './status.ts'

/** NFSPROC3_LOOKUP: the handle and attributes of a name in a directory. RFC 1813 section 3.3.3. */
export const lookup: Nfs3Procedure = {
  name: 'LOOKUP',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    call.handle.read(call.args)
    const name = call.readName()
    const dir = call.resolve(call.handle)
    return dir instanceof Promise ? dir.then((found) => lookUp(call, found, name)) : lookUp(call, dir, name)
  },
}

function lookUp(call: Nfs3Call, dir: Inode, name: string): MaybePromise<void> {
  if (call.served.members !== undefined && name !== '.' && name !== '..') return lookUpView(call, dir, name)
  const asked: LookupAttrs = { attr: undefined, dirAttr: undefined }
  const found =
    name === '.' || name === '..'
      ? dots(call, dir, name, asked)
      : call.served.overlay.lookup(call.cred, dir, name, asked)
  if (found instanceof Promise) return found.then((inode) => answerOrHidden(call, dir, name, inode, asked))
  return answerOrHidden(call, dir, name, found, asked)
}

/** Answers, or leads to a view behind a name that listings do not show. */
function answerOrHidden(
  call: Nfs3Call,
  dir: Inode,
  name: string,
  found: Inode | undefined,
  asked: LookupAttrs,
): MaybePromise<void> {
  const { member, overlay } = call.served
  const hidden = found === undefined && dir === overlay.root ? member?.hidden?.(name) : undefined
  return hidden ? answerMember(call, dir, hidden) : answer(call, found, asked)
}

function answer(call: Nfs3Call, inode: Inode | undefined, { attr, dirAttr }: LookupAttrs): void {
  // An absent name is too common for an exception.
  if (inode === undefined) {
    encodePostOpAttr(call.status(NFS3ERR_NOENT, POST_OP_ATTR_BYTES), dirAttr, call.served)
    return
  }
  const out = call.ok(64 + 2 * POST_OP_ATTR_BYTES)
  encodeHandle(out, call, inode)
  encodePostOpAttr(out, attr, call.served)
  encodePostOpAttr(out, dirAttr, call.served)
}

/** A view in the root of its template. Views that the caller may not use do not exist for it. */
async function lookUpView(call: Nfs3Call, dir: Inode, name: string): Promise<void> {
  const { served, rpc } = call
  await answerMember(call, dir, await served.members!.find(name, rpc.peer, false))
}

async function answerMember(call: Nfs3Call, dir: Inode, member: NfsMember | undefined): Promise<void> {
  const { served, rpc, context } = call
  const dirAttr = await call.overlay.getattr(dir)
  const template = served instanceof MemberView ? served.template : (served as NfsExport)
  const view = member && context.exports.memberView(member, template)
  const grant = view?.grant(rpc.peer, rpc.credential)
  if (view === undefined || grant === undefined || !view.member.admits(grant.cred, rpc.peer))
    return answer(call, undefined, { attr: undefined, dirAttr })
  await call.use(view)
  const { overlay } = view
  const attr = await overlay.getattr(overlay.root)
  overlay.retain(overlay.root)
  await context.handleSaver.saved(overlay)
  const out = call.ok(64 + 2 * POST_OP_ATTR_BYTES)
  context.handles.write(out, view, overlay.root)
  encodePostOpAttr(out, attr, view)
  encodePostOpAttr(out, dirAttr, served)
}

/** "." needs search permission too, which the lookup of the parent checks. */
function dots(call: Nfs3Call, dir: Inode, name: '.' | '..', asked: LookupAttrs): MaybePromise<Inode> {
  return after(call.overlay.parent(call.cred, dir, asked), (parent) => {
    if (name === '..') return parent
    asked.attr = asked.dirAttr
    return dir
  })
}
