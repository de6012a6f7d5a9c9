import type { MaybePromise } from '../../../overlay-core/index.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { ProcedureName } from './procedure-statuses.ts'

/** What stands after the status in an answer other than NFS3_OK, in the words of RFC 1813. */
export type FailureBody = 'void' | 'post_op_attr' | 'wcc_data' | 'two wcc_data' | 'post_op_attr, wcc_data'

/** One procedure of NFSv3. */
export interface Nfs3Procedure {
  readonly name: ProcedureName
  readonly failure: FailureBody
  /** Changes something: refused on a read-only export, and answered from the cache when it is asked twice. */
  readonly mutates: boolean
  /**
   * Decodes the arguments, does the work and encodes the results after `call.ok`. Errors are thrown (OverlayError, Nfs3Error,
   * XdrError) and become an answer in the executor. What is known by then of `call.object` and `call.wcc` goes with it.
   */
  run(call: Nfs3Call): MaybePromise<void>
}
