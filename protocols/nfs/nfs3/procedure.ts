import type { MaybePromise } from '../../../overlay-core/index.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { ProcedureName } from './procedure-statuses.ts'

/** The data after a status other than NFS3_OK, as named in RFC 1813. */
export type FailureBody = 'void' | 'post_op_attr' | 'wcc_data' | 'two wcc_data' | 'post_op_attr, wcc_data'

/** One procedure of NFSv3. */
export interface Nfs3Procedure {
  readonly name: ProcedureName
  readonly failure: FailureBody
  /** Whether it changes something: it is then refused on a read-only export, and a retransmission is answered from the cache. */
  readonly mutates: boolean
  /**
   * Decodes the arguments, does the work and encodes the results after `call.ok`. It throws errors (OverlayError, Nfs3Error,
   * XdrError), which the executor converts to a reply that includes the known parts of `call.object` and `call.wcc`.
   */
  run(call: Nfs3Call): MaybePromise<void>
}
