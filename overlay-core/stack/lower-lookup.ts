import { FileType, type MaybePromise, type Name } from '../api/types.ts'
import type { Found } from '../layer/layer.ts'
import type { UpperContext } from '../layer/upper-context.ts'
import { isObject, type NameState, nameStateAt, type WHITEOUT } from '../layer/whiteout-format.ts'
import { type Stat, statxFd } from '../sys/stat.ts'
import { LowerAttr } from './lower-attr.ts'
import { LowerReal, NOTHING } from './lower-real.ts'

/** The state of a name in a lower of a stack. The stack owns the descriptor of an object. */
export type LowerState = LowerReal | typeof WHITEOUT | undefined

/** Looks up `name` in `dir`, unless an overlay of the stack has done that. Must be called inside `Descriptors.run`. */
export function lowerStateAt(context: UpperContext, dir: LowerReal, name: Name): MaybePromise<LowerState> {
  const known = dir.layer.names.get(dir, name)
  if (known !== undefined && !(known instanceof LowerReal && mayHaveChanged(known)))
    return known === NOTHING ? undefined : known
  const { version } = dir.content
  const state = nameStateAt(context, dir, name)
  return state instanceof Promise
    ? state.then((found) => learn(dir, name, found, version))
    : learn(dir, name, state, version)
}

/** Whether a check of the directory of an object, at which overlays look for changes, does not show that it is as it was found. */
function mayHaveChanged({ layer, attr, stale }: LowerReal): boolean {
  return layer.revalidates && (stale || attr?.type !== FileType.directory)
}

/** @param version that of `dir` before the name was looked up */
function learn(dir: LowerReal, name: Name, state: NameState, version: number): LowerState {
  const { names, descriptors, revalidates } = dir.layer
  // Another overlay may have been faster: one object for each name.
  const faster = names.get(dir, name)
  if (faster instanceof LowerReal && isObject(state) && isSame(faster, state.stat)) {
    if (state.fd >= 0) descriptors.adopt(faster, state.fd)
    if (revalidates) {
      faster.attr = new LowerAttr(dir.layer, state.stat)
      faster.stale = false
    }
    return faster
  }
  const found = isObject(state) ? objectAt(dir, name, state.stat) : state
  if (found instanceof LowerReal && isObject(state) && state.fd >= 0) descriptors.adopt(found, state.fd)
  const isNews = faster === undefined || revalidates
  if (isNews && dir.content.version === version) names.set(dir, name, found ?? NOTHING)
  return found
}

/** Whether `known` is the object with these attributes, and not one that has got the inode number of it. */
function isSame(known: LowerReal, { ino, type }: Stat): boolean {
  return known.ino === ino && known.attr?.type === type && (known.fd < 0 || statxFd(known.fd).nlink > 0)
}

function objectAt(dir: LowerReal, name: Name, stat: Stat): LowerReal {
  return new LowerReal(dir.layer, dir, name, stat.ino, new LowerAttr(dir.layer, stat))
}

/** An object of a stack, other than a root, with the attributes that it was found with. */
export function asFound(real: LowerReal): Found {
  return { real, stat: real.attr as LowerAttr }
}
