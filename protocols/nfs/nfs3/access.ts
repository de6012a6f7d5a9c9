import { Access, after, FileType, type Inode } from '../../../overlay-core/index.ts'
import { encodePostOpAttr } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'

const ACCESS3_READ = 0x01
const ACCESS3_LOOKUP = 0x02
const ACCESS3_MODIFY = 0x04
const ACCESS3_EXTEND = 0x08
const ACCESS3_DELETE = 0x10
const ACCESS3_EXECUTE = 0x20

/** The permissions for each bit of ACCESS. As in the Linux server, changing entries of a directory needs write and search. */
const WRITE_AND_SEARCH = Access.write | Access.execute
const DIRECTORY_BITS: readonly (readonly [bit: number, needs: number])[] = [
  [ACCESS3_READ, Access.read],
  [ACCESS3_LOOKUP, Access.execute],
  [ACCESS3_MODIFY, WRITE_AND_SEARCH],
  [ACCESS3_EXTEND, WRITE_AND_SEARCH],
  [ACCESS3_DELETE, WRITE_AND_SEARCH],
]
const FILE_BITS: readonly (readonly [bit: number, needs: number])[] = [
  [ACCESS3_READ, Access.read],
  [ACCESS3_MODIFY, Access.write],
  [ACCESS3_EXTEND, Access.write],
  [ACCESS3_EXECUTE, Access.execute],
]

/** NFSPROC3_ACCESS: returns which of the requested access rights the caller has. RFC 1813 section 3.3.4. */
export const access: Nfs3Procedure = {
  name: 'ACCESS',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    call.handle.read(call.args)
    const asked = call.args.u32()
    return after(call.resolve(call.handle), (inode) => {
      const bits = inode.type === FileType.directory ? DIRECTORY_BITS : FILE_BITS
      return after(call.overlay.access(call.cred, inode, permissionsFor(bits, asked)), (has) =>
        answer(call, inode, granted(bits, asked, writable(call) ? has : has & ~Access.write)),
      )
    })
  },
}

function writable(call: Nfs3Call): boolean {
  return !call.grant.readOnly && !call.overlay.readOnly
}

function permissionsFor(bits: typeof FILE_BITS, asked: number): number {
  let mask = 0
  for (const [bit, needs] of bits) if (asked & bit) mask |= needs
  return mask
}

function granted(bits: typeof FILE_BITS, asked: number, has: number): number {
  let result = 0
  for (const [bit, needs] of bits) if (asked & bit && (has & needs) === needs) result |= bit
  return result
}

function answer(call: Nfs3Call, inode: Inode, result: number) {
  return after(call.overlay.getattr(inode), (attr) => {
    const out = call.ok(POST_OP_ATTR_BYTES + 4)
    encodePostOpAttr(out, attr, call.served)
    out.u32(result)
  })
}
