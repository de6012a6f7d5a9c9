import type { Nfs3Procedure } from './procedure.ts'

/** NFSPROC3_NULL: does nothing. RFC 1813 section 3.3.0. */
export const nullProcedure: Nfs3Procedure = {
  name: 'NULL',
  failure: 'void',
  mutates: false,
  run(call) {
    call.rpc.begin(0)
  },
}
