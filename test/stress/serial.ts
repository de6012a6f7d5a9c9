import { effectOf, type Operation, type Result, type State, textOf } from './model.ts'

/** One operation of a history, between the moments (counted) at which it began and ended. */
export interface Call {
  readonly operation: Operation
  readonly began: number
  /** When it got the lock under which it most probably had its effect; as `began` where that is not known. */
  readonly effective: number
  readonly ended: number
  /** Undefined for one that was cut off: it may have happened or not. */
  readonly result: Result | undefined
}

/** How many states are tried before a history counts as undecided. */
const MOST_TRIED = 100_000

/** More than can be looked at. */
export class Undecided extends Error {}

/**
 * Whether a history that began in the state `start` can have led to a `wanted` state: by an order of the calls in which each has its effect at
 * one moment between its beginning and its end, and answers what it has answered.
 *
 * The search of Wing and Gong with the memory of Lowe: calls that change nothing are taken as soon as their answer fits, as that never
 * makes another order impossible; of those that change something each that could be next is tried, the one that ended first before the
 * others, and never twice from the same state with the same calls left.
 */
function someState(start: State, history: readonly Call[], wanted: (state: State) => boolean): boolean {
  const calls = [...history].sort((a, b) => a.ended - b.ended)
  const seen = new Set<string>()
  let tried = 0
  const stack: { state: State; left: readonly Call[] }[] = [{ state: start, left: calls }]
  for (let place = stack.pop(); place; place = stack.pop()) {
    if (++tried > MOST_TRIED) throw new Undecided(`${calls.length} calls`)
    const { state } = place
    const left = withoutReads(state, place.left)
    const key = `${left.map(({ ended }) => ended).join()}|${textOf(state)}`
    if (seen.has(key)) continue
    seen.add(key)
    if (left.every(({ result }) => result === undefined) && wanted(state)) return true
    const next = nextOf(left)
    // The last one pushed is tried first.
    for (const call of next.reverse()) {
      for (const after of outcomes(state, call)) stack.push({ state: after, left: left.filter((one) => one !== call) })
    }
  }
  return false
}

/**
 * Whether some serial order explains the history and leads to a state that is `wanted`. Looked for first among the orders in which each call
 * has its effect between getting its lock and its end, as there are few of those; then among all.
 */
export function isSerial(start: State, history: readonly Call[], wanted: (state: State) => boolean): boolean {
  const likely = history.map((call) => ({ ...call, began: call.effective }))
  return isLikely(start, likely, wanted) || someState(start, history, wanted)
}

function isLikely(start: State, likely: readonly Call[], wanted: (state: State) => boolean): boolean {
  try {
    return someState(start, likely, wanted)
  } catch (error) {
    if (error instanceof Undecided) return false
    throw error
  }
}

/** Takes all calls that could be next and whose answer fits without a change. */
function withoutReads(state: State, calls: readonly Call[]): readonly Call[] {
  let left = calls
  for (;;) {
    const fits = new Set(nextOf(left).filter((call) => isRead(state, call)))
    if (fits.size === 0) return left
    left = left.filter((call) => !fits.has(call))
  }
}

function isRead(state: State, { operation, result }: Call): boolean {
  if (result === undefined || !known(state, operation)) return false
  const { accepts, after } = effectOf(state, operation)
  return accepts(result) && after(result) === state
}

/** The calls that began before any of them had ended. */
function nextOf(calls: readonly Call[]): Call[] {
  let firstEnd = Number.POSITIVE_INFINITY
  for (const { ended } of calls) if (ended < firstEnd) firstEnd = ended
  return calls.filter(({ began }) => began < firstEnd)
}

function outcomes(state: State, { operation, result }: Call): State[] {
  if (!known(state, operation)) return []
  const { accepts, after } = effectOf(state, operation)
  if (result !== undefined) return accepts(result) ? [after(result)] : []
  // Cut off, and what it made is not known: under an identity of its own.
  const made = operation.op === 'create' || operation.op === 'mkdir' || operation.op === 'put'
  const answer = made ? `0?${textOf(state).length}.${operation.op}.${operation.dir}.${operation.name}` : 'ok'
  return accepts(answer) ? [after(answer)] : []
}

/** Whether all objects that the operation names exist already in this order. */
function known(state: State, operation: Operation): boolean {
  if ('dir' in operation && !state.has(operation.dir)) return false
  if ('toDir' in operation && !state.has(operation.toDir)) return false
  return !('object' in operation) || state.has(operation.object)
}
