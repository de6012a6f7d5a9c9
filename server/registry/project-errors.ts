import { isErrno, type Overlay, OverlayError } from '../../overlay-core/index.ts'

/** The calls whose results have calls of their own. */
const OPENING: ReadonlySet<PropertyKey> = new Set<keyof Overlay>(['open', 'stage', 'resumableStages'])

/**
 * The same overlay, whose calls fail with EDQUOT where the file system says ENOSPC because of a quota, as xfs does. `isFull` tells whether the quota leaves less room
 * than the disk.
 */
export function tellProjectErrors(overlay: Overlay, isFull: () => Promise<boolean>): Overlay {
  return telling(overlay, isFull)
}

function telling<T extends object>(object: T, isFull: () => Promise<boolean>): T {
  const told = new Map<PropertyKey, unknown>()
  return new Proxy(object, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof value !== 'function') return value
      const present = told.get(property)
      if (present !== undefined) return present
      const fail = (error: unknown) => explained(error, isFull)
      const wrap = (result: unknown) => (OPENING.has(property) ? wrapped(result, isFull) : result)
      const call = (...args: unknown[]): unknown => {
        try {
          const result: unknown = Reflect.apply(value, target, args)
          return result instanceof Promise ? result.then(wrap, fail) : wrap(result)
        } catch (error) {
          if (!isErrno(error, 'ENOSPC')) throw error
          return fail(error)
        }
      }
      told.set(property, call)
      return call
    },
  })
}

/** An open or staged file, or a list of kept ones. */
function wrapped(result: unknown, isFull: () => Promise<boolean>): unknown {
  if (Array.isArray(result))
    return result.map((kept: { staged: object }) => ({ ...kept, staged: telling(kept.staged, isFull) }))
  return typeof result === 'object' && result !== null ? telling(result, isFull) : result
}

async function explained(error: unknown, isFull: () => Promise<boolean>): Promise<never> {
  if (isErrno(error, 'ENOSPC') && (await isFull())) throw new OverlayError('EDQUOT', error.op, undefined, error)
  throw error
}
