import { Access, after, FileType } from '../../../overlay-core/index.ts'
import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const ACCESS4_READ = 0x01
const ACCESS4_LOOKUP = 0x02
const ACCESS4_MODIFY = 0x04
const ACCESS4_EXTEND = 0x08
const ACCESS4_DELETE = 0x10
const ACCESS4_EXECUTE = 0x20
const ACCESS4_XAREAD = 0x40
const ACCESS4_XAWRITE = 0x80
const ACCESS4_XALIST = 0x100
const ALL = 0x3f
/** RFC 8276 section 8.5. */
const ALL_OF_42 = 0x1ff

/** The permissions for each bit. As in the Linux server, changing entries of a directory needs write and search. */
const WRITE_AND_SEARCH = Access.write | Access.execute
type Bits = readonly (readonly [bit: number, needs: number])[]
const XATTR_BITS: Bits = [
  [ACCESS4_XAREAD, Access.read],
  [ACCESS4_XAWRITE, Access.write],
  [ACCESS4_XALIST, Access.read],
]
const DIRECTORY_BITS: Bits = [
  [ACCESS4_READ, Access.read],
  [ACCESS4_LOOKUP, Access.execute],
  [ACCESS4_MODIFY, WRITE_AND_SEARCH],
  [ACCESS4_EXTEND, WRITE_AND_SEARCH],
  [ACCESS4_DELETE, WRITE_AND_SEARCH],
  ...XATTR_BITS,
]
const FILE_BITS: Bits = [
  [ACCESS4_READ, Access.read],
  [ACCESS4_MODIFY, Access.write],
  [ACCESS4_EXTEND, Access.write],
  [ACCESS4_EXECUTE, Access.execute],
  ...XATTR_BITS,
]

/** ACCESS: which of the asked rights the caller has, and which of them the server can tell. RFC 8881 section 18.1. */
export const access: Operation = {
  name: 'ACCESS',
  run(call) {
    const asked = call.args.u32() & (call.minor < 2 ? ALL : ALL_OF_42)
    const { current, out } = call
    if (current.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
    const isDirectory = current.kind === 'root' || current.inode!.type === FileType.directory
    const bits = isDirectory ? DIRECTORY_BITS : FILE_BITS
    const answer = (has: number) => {
      out.u32(known(bits, asked))
      out.u32(granted(bits, asked, has))
    }
    if (current.kind === 'root' || current.mountOnly)
      return answer(current.kind === 'root' ? Access.read | Access.execute : 0)
    const { served, inode, grant } = call.object()
    return after(served.overlay.access(grant.cred, inode, permissionsFor(bits, asked)), (has) =>
      answer(grant.readOnly || served.overlay.readOnly ? has & ~Access.write : has),
    )
  },
}

function permissionsFor(bits: Bits, asked: number): number {
  let mask = 0
  for (const [bit, needs] of bits) if (asked & bit) mask |= needs
  return mask
}

function known(bits: Bits, asked: number): number {
  let result = 0
  for (const [bit] of bits) result |= asked & bit
  return result
}

function granted(bits: Bits, asked: number, has: number): number {
  let result = 0
  for (const [bit, needs] of bits) if (asked & bit && (has & needs) === needs) result |= bit
  return result
}
