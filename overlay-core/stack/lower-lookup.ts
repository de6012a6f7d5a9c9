import type { MaybePromise, Name } from '../api/types.ts'
import type { Found } from '../layer/layer.ts'
import type { UpperContext } from '../layer/upper-context.ts'
import { isObject, type NameState, nameStateAt, type WHITEOUT } from '../layer/whiteout-format.ts'
import type { Stat } from '../sys/stat.ts'
import { LowerAttr } from './lower-attr.ts'
import { LowerReal, NOTHING } from './lower-real.ts'

/** The state of a name in a lower of a stack. The stack owns the descriptor of an object. */
export type LowerState = LowerReal | typeof WHITEOUT | undefined

/** Looks up `name` in `dir`, unless an overlay of the stack has done that. Must be called inside `Descriptors.run`. */
export function lowerStateAt(context: UpperContext, dir: LowerReal, name: Name): MaybePromise<LowerState> {
  const known = dir.layer.names.get(dir, name)
  if (known !== undefined) return known === NOTHING ? undefined : known
  const state = nameStateAt(context, dir, name)
  return state instanceof Promise ? state.then((found) => learn(dir, name, found)) : learn(dir, name, state)
}

function learn(dir: LowerReal, name: Name, state: NameState): LowerState {
  const { names, descriptors } = dir.layer
  // Another overlay may have been faster: one object for each name.
  const faster = names.get(dir, name)
  if (faster instanceof LowerReal && isObject(state) && faster.ino === state.stat.ino) {
    if (state.fd >= 0) descriptors.adopt(faster, state.fd)
    return faster
  }
  const found = isObject(state) ? objectAt(dir, name, state.stat) : state
  if (found instanceof LowerReal && isObject(state) && state.fd >= 0) descriptors.adopt(found, state.fd)
  if (faster === undefined) names.add(dir, name, found ?? NOTHING)
  return found
}

function objectAt(dir: LowerReal, name: Name, stat: Stat): LowerReal {
  return new LowerReal(dir.layer, dir, name, stat.ino, new LowerAttr(dir.layer, stat))
}

/** An object of a stack, other than a root, with the attributes that it was found with. */
export function asFound(real: LowerReal): Found {
  return { real, stat: real.attr as LowerAttr }
}
