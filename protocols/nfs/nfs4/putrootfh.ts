import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'

function run(call: Nfs4Call): void {
  call.current.setRoot()
  call.currentStateid.clear()
}

/** PUTROOTFH: makes the pseudo-root the current object. RFC 8881 section 18.21. */
export const putrootfh: Operation = { name: 'PUTROOTFH', run }

/** PUTPUBFH: the public filehandle is the pseudo-root too. RFC 8881 section 18.20. */
export const putpubfh: Operation = { name: 'PUTPUBFH', run }
