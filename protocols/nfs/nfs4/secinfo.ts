import { after } from '../../../overlay-core/index.ts'
import { AUTH_SYS } from '../rpc/constants.ts'
import { enterName } from './lookup.ts'
import { lookupp } from './lookupp.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** `secinfo_style4`. */
const STYLE_PARENT = 1

/** SECINFO: how callers may say who they are at a name. RFC 8881 section 18.29. The current filehandle is consumed. */
export const secinfo: Operation = {
  name: 'SECINFO',
  run: (call) => after(enterProtected(call, call.readName()), () => answer(call)),
}

/** SECINFO_NO_NAME: the same for the current object or its parent. RFC 8881 section 18.45. */
export const secinfoNoName: Operation = {
  name: 'SECINFO_NO_NAME',
  run(call) {
    const style = call.args.enumUpTo(STYLE_PARENT)
    if (style === STYLE_PARENT) return after(lookupp.run(call), () => answer(call))
    if (call.current.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
    answer(call)
  },
}

/** A client that learns that it must encrypt gets an answer, too. */
function enterProtected(call: Nfs4Call, name: string) {
  try {
    return enterName(call, name)
  } catch (error) {
    if (error instanceof Nfs4Error && error.status === STATUS.WRONGSEC) return
    throw error
  }
}

function answer(call: Nfs4Call): void {
  call.current.clear()
  call.currentStateid.clear()
  call.out.u32(1)
  call.out.u32(AUTH_SYS)
}
