import { after } from '../../../overlay-core/index.ts'
import type { Operation } from './operation.ts'

/** COMMIT: makes unstable writes durable. RFC 8881 section 18.3. The whole file is made durable, whatever the range. An async export replies without doing so. */
export const commit: Operation = {
  name: 'COMMIT',
  run(call) {
    call.args.take(12) // offset and count
    const { served, inode, grant } = call.file()
    const done = grant.sync && !grant.readOnly ? served.overlay.commit(grant.cred, inode) : undefined
    return after(done, () => call.out.fixedOpaque(call.context.verifier.bytes))
  },
}
