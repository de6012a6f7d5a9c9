/** The number of bytes that all request and response bodies together may move in one turn of the event loop: about 2 ms of work. */
const BYTES_PER_TURN = 2 * 1024 * 1024
/** A piece of a body counts as at least this many bytes. */
const LEAST_BYTES = 16 * 1024

/** A body that waits to move its next piece. */
interface Waiting {
  readonly bytes: number
  readonly goOn: () => void
}

let moved = 0
let armed = false
/** Waiting bodies in the order of arrival. */
let waiting: Waiting[] = []

/** Counts a piece of a body. Returns true if this turn has moved enough bytes; the caller should then wait with `nextPiece`. */
export function hasMovedEnough(bytes: number): boolean {
  moved += Math.max(bytes, LEAST_BYTES)
  if (!armed) arm()
  return moved > BYTES_PER_TURN
}

/** Calls `goOn` in a later turn, in the order of arrival. If each body moves `bytes`, a turn continues as many as fit into `BYTES_PER_TURN`. */
export function nextPiece(bytes: number, goOn: () => void): void {
  waiting.push({ bytes: Math.max(bytes, LEAST_BYTES), goOn })
  if (!armed) arm()
}

function arm(): void {
  armed = true
  setImmediate(endTurn)
}

function endTurn(): void {
  armed = false
  moved = 0
  let count = 0
  for (let bytes = 0; count < waiting.length && bytes < BYTES_PER_TURN; count++) bytes += waiting[count]!.bytes
  const now = waiting.slice(0, count)
  waiting = waiting.slice(count)
  if (waiting.length > 0) arm()
  for (const { goOn } of now) goOn()
}
