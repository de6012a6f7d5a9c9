import { LockKind, LockScope, LockType } from '../http/vocabulary.ts'
import type { ActiveLock } from './lock-store.ts'

/** What a line of the journal says of one token. */
export type LockRecord =
  | { readonly kind: 'taken'; readonly lock: ActiveLock }
  | { readonly kind: 'refreshed'; readonly token: string; readonly seconds: number; readonly expiresMs: number }
  | { readonly kind: 'ended'; readonly token: string }

/** The line for a lock that was taken. */
export function takenLine({ token, user, names, kind, deep, owner, expiresMs }: ActiveLock): string {
  const scope = kind.scope.value
  return JSON.stringify({ token, names, scope, deep, user, owner, seconds: kind.timeout, expiresMs })
}

/** The line for a lock that got a new life. */
export function refreshedLine(token: string, seconds: number, expiresMs: number): string {
  return JSON.stringify({ token, seconds, expiresMs })
}

/** The line for a lock that ended before its time. */
export function endedLine(token: string): string {
  return JSON.stringify({ token, ended: true })
}

/** Reads a line; undefined when it is not one of ours, such as one that a power cut left unfinished. */
export function readLine(view: string, line: string): LockRecord | undefined {
  const value = parse(line)
  if (typeof value !== 'object' || value === null) return undefined
  const { token, ended, seconds, expiresMs, names } = value as Record<string, unknown>
  if (typeof token !== 'string' || token === '') return undefined
  if (ended === true) return { kind: 'ended', token }
  if (typeof seconds !== 'number' || typeof expiresMs !== 'number') return undefined
  if (names === undefined) return { kind: 'refreshed', token, seconds, expiresMs }
  return readTaken(view, token, value as Record<string, unknown>)
}

function readTaken(view: string, token: string, value: Record<string, unknown>): LockRecord | undefined {
  const { names, scope, deep, user, owner, seconds, expiresMs } = value
  const scopeFound = [LockScope.Exclusive, LockScope.Shared].find((known) => known.value === scope)
  if (scopeFound === undefined || typeof deep !== 'boolean' || typeof user !== 'number') return undefined
  if (typeof owner !== 'string' || !Array.isArray(names) || !names.every(isName)) return undefined
  const kind = new LockKind(scopeFound, LockType.Write, seconds as number)
  return { kind: 'taken', lock: { token, view, user, names, kind, deep, owner, expiresMs: expiresMs as number } }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
