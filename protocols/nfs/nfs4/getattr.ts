import { after, type MaybePromise } from '../../../overlay-core/index.ts'
import { Encoder } from '../xdr/encoder.ts'
import { describe } from './describe.ts'
import { asksForWriteOnly, encodeFattr4, FATTR4_BYTES, SUPPORTED } from './encode-attributes.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { ATTR } from './wire/attributes.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** GETATTR: the attributes of the current object. RFC 8881 section 18.7. */
export const getattr: Operation = {
  name: 'GETATTR',
  run(call) {
    const { asked, current } = call
    asked.read(call.args)
    if (asksForWriteOnly(asked)) throw new Nfs4Error(STATUS.INVAL)
    if (current.kind === 'object' && asked.has(ATTR.FILEHANDLE)) call.gives(current.served!.overlay, current.inode!)
    const what = describe(call, current, asked)
    if (what instanceof Promise) return what.then((known) => encodeFattr4(call.out, asked, known))
    encodeFattr4(call.out, asked, what)
  },
}

/** VERIFY: goes on if the attributes are as given. RFC 8881 section 18.31. */
export const verify: Operation = {
  name: 'VERIFY',
  run: (call) => after(isSame(call), (same) => check(same, STATUS.NOT_SAME)),
}

/** NVERIFY: goes on if one of the attributes is not as given. RFC 8881 section 18.15. */
export const nverify: Operation = {
  name: 'NVERIFY',
  run: (call) => after(isSame(call), (same) => check(!same, STATUS.SAME)),
}

function check(fulfilled: boolean, otherwise: number): void {
  if (!fulfilled) throw new Nfs4Error(otherwise)
}

/** Whether the current object has the attributes in the arguments: their encoding is compared. */
function isSame(call: Nfs4Call): MaybePromise<boolean> {
  const { asked, args } = call
  asked.read(args)
  const values = args.opaque(64 * 1024)
  if (asked.exceeds(SUPPORTED)) throw new Nfs4Error(STATUS.ATTRNOTSUPP)
  if (asksForWriteOnly(asked) || asked.has(ATTR.RDATTR_ERROR)) throw new Nfs4Error(STATUS.INVAL)
  return after(describe(call, call.current, asked), (what) => {
    const own = new Encoder(Buffer.alloc(FATTR4_BYTES))
    encodeFattr4(own, asked, what)
    // Behind the mask and the length.
    const ownValues = own.bytes.subarray(own.pos - values.length, own.pos)
    const maskBytes = 4 + 4 * own.view.getUint32(0)
    return own.pos - maskBytes - 4 === values.length && ownValues.equals(values)
  })
}
