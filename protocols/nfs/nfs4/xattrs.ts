import type { Attr } from '../../../overlay-core/index.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const NAME_MAX_BYTES = 255
/** As in Linux (XATTR_SIZE_MAX). */
const MOST_VALUE_BYTES = 64 * 1024
const MAX_WIRE_VALUE = 1024 * 1024
const USER = 'user.'
/** `setxattr_option4`. */
const OPTIONS = [undefined, 'create', 'replace'] as const

/** GETXATTR: the value of an extended attribute of the user. RFC 8276 section 8.4.1. */
export const getxattr: Operation = {
  name: 'GETXATTR',
  async run(call) {
    const name = readName(call)
    const { served, inode, grant } = call.object(call.current, STATUS.NOXATTR)
    const value = await served.overlay.getxattr(grant.cred, inode, name)
    if (value === undefined) throw new Nfs4Error(STATUS.NOXATTR)
    call.need(value.length + 8).opaque(value)
  },
}

/** SETXATTR: sets one. RFC 8276 section 8.4.2. */
export const setxattr: Operation = {
  name: 'SETXATTR',
  async run(call) {
    const option = call.args.enumUpTo(OPTIONS.length - 1)
    const name = readName(call)
    const value = call.args.opaque(MAX_WIRE_VALUE)
    const target = call.writable(call.object())
    if (value.length > MOST_VALUE_BYTES) throw new Nfs4Error(STATUS.XATTR2BIG)
    const { served, inode, grant } = target
    const before = await served.overlay.getattr(inode)
    await served.overlay.setxattr(grant.cred, inode, name, Buffer.from(value), OPTIONS[option])
    call.keep(target, inode)
    await answerChange(call, before)
  },
}

/** REMOVEXATTR: removes one. RFC 8276 section 8.4.4. */
export const removexattr: Operation = {
  name: 'REMOVEXATTR',
  async run(call) {
    const name = readName(call)
    const target = call.writable(call.object())
    const { served, inode, grant } = target
    const before = await served.overlay.getattr(inode)
    await served.overlay.removexattr(grant.cred, inode, name)
    call.keep(target, inode)
    await answerChange(call, before)
  },
}

/** LISTXATTRS: their names. RFC 8276 section 8.4.3. A cookie is the number of names before it. */
export const listxattrs: Operation = {
  name: 'LISTXATTRS',
  async run(call) {
    const { args } = call
    const from = args.safeU64()
    const maxBytes = Math.min(args.u32(), MAX_WIRE_VALUE, call.replyRoom)
    const { served, inode, grant } = call.object(call.current, STATUS.NOXATTR)
    const all = await served.overlay.listxattr(grant.cred, inode)
    const names = all.filter((name) => name.startsWith(USER)).map((name) => name.slice(USER.length))
    if (from === undefined || from > names.length) throw new Nfs4Error(STATUS.BAD_COOKIE)
    let bytes = 16
    let next = from
    while (next < names.length) {
      bytes += 4 + ((names[next]!.length + 3) & ~3)
      if (bytes > maxBytes) break
      next++
    }
    if (next === from && next < names.length) throw new Nfs4Error(STATUS.TOOSMALL)
    const out = call.makeRoom(bytes)
    out.safeU64(next)
    out.u32(next - from)
    for (const name of names.slice(from, next)) out.string(name)
    out.bool(next === names.length)
  },
}

/** Reads a `xattrkey4`, which comes without the name space. @throws Nfs4Error INVAL */
function readName({ args }: Nfs4Call): string {
  const name = args.string(MAX_WIRE_VALUE)
  if (name.length === 0 || name.length > NAME_MAX_BYTES - USER.length || name.includes('\0')) {
    throw new Nfs4Error(STATUS.INVAL)
  }
  return USER + name
}

async function answerChange(call: Nfs4Call, before: Attr): Promise<void> {
  const { served, inode } = call.object()
  call.encodeChange({ before, after: await served.overlay.getattr(inode) })
}
