import type { Operation } from './operation.ts'

/** PUTFH: makes an object the current one. RFC 8881 section 18.19. */
export const putfh: Operation = {
  name: 'PUTFH',
  run(call) {
    call.handle.read(call.args)
    return call.putHandle()
  },
}
