import type { MaybePromise } from '../../../overlay-core/index.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { OperationName } from './wire/constants.ts'

/** One operation of a COMPOUND. */
export interface Operation {
  readonly name: OperationName
  /** The last minor version that has it; undefined if the latest has. */
  readonly until?: 0
  /** Whether it comes without SEQUENCE, and then alone (RFC 8881 section 2.10.6.1). */
  readonly sessionless?: boolean
  /**
   * Reads its arguments from `call.args` and writes its results to `call.out`, behind the status. At least `RESULT_BYTES` have room there; more must be asked for with
   * `call.need`. It throws Nfs4Error, OverlayError or XdrError, which the executor turns into a status.
   */
  run(call: Nfs4Call): MaybePromise<void>
}

/** The room that the results of every operation have. */
export const RESULT_BYTES = 1024
