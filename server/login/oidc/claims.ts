import type { OidcSettings } from '../../../config/index.ts'
import { loginNameError } from '../sources/password-lines.ts'

/** More groups are refused: one that is left out could take rights away. */
const MOST_GROUPS = 1000

/** Claims that name nobody who may log in. */
export class ClaimError extends Error {}

/** Whom claims are about. */
export interface ClaimedUser {
  readonly name: string
  /** Undefined if there is no such claim. */
  readonly groups: readonly string[] | undefined
}

type Claims = Readonly<Record<string, unknown>>

/** The user that verified claims name. @throws ClaimError they name none, or one that may not log in */
export function userOfClaims(claims: Claims, { userClaim, groupsClaim }: OidcSettings): ClaimedUser {
  const name = claimOf(claims, userClaim)
  if (typeof name !== 'string') throw new ClaimError(`the token has no claim ${userClaim}`)
  const normal = name.normalize('NFC')
  const wrong = loginNameError(normal) ?? (normal === 'root' ? 'root is the user of this machine' : undefined)
  if (wrong !== undefined) throw new ClaimError(`the user of the token cannot log in: ${wrong}`)
  const given = claimOf(claims, groupsClaim)
  if (given === undefined) return { name: normal, groups: undefined }
  const groups: unknown[] = Array.isArray(given) ? given : [given]
  const names = groups.filter((group): group is string => typeof group === 'string')
  if (names.length !== groups.length || names.length > MOST_GROUPS)
    throw new ClaimError(`the claim ${groupsClaim} is not a list of up to ${MOST_GROUPS} names`)
  return { name: normal, groups: names }
}

/** A claim by its name, or by a path into objects. */
function claimOf(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: unknown = claims
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined
    value = (value as Claims)[step]
  }
  return value
}
