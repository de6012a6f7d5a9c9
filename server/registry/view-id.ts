import type { RandomBytes } from '../random.ts'

const ID = /^[0-9a-f]{16}$/
const ID_BYTES = 8

/** A new id of a view or a layer. */
export function newViewId(random: RandomBytes): string {
  for (;;) {
    const id = Buffer.from(random(ID_BYTES)).toString('hex')
    if (isViewId(id)) return id
  }
}

/** Whether this is the id of a view or a layer. The high half is not 0, because then it would be the number of an export in a file handle. */
export function isViewId(text: string): boolean {
  return ID.test(text) && !text.startsWith('00000000')
}
