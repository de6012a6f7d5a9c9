import { LockKind, LockScope, LockType } from '../http/vocabulary.ts'
import type { ActiveLock, FileId } from './lock-store.ts'

/** The expiry of a lock, by the clocks of the run that wrote it. */
export interface Expiry {
  /** By the time of day, in ms since the epoch, which may be changed. */
  readonly expiresMs: number
  /** By the monotonic clock of the boot `boot`, in ms, which cannot be changed; undefined if the run had none. */
  readonly boot?: string | undefined
  readonly bootMs?: number | undefined
}

/** The content of a line of the journal. */
export type LockRecord =
  | { readonly kind: 'taken'; readonly lock: ActiveLock; readonly expiry: Expiry }
  | { readonly kind: 'refreshed'; readonly token: string; readonly seconds: number; readonly expiry: Expiry }
  | { readonly kind: 'bound'; readonly token: string; readonly file: FileId | undefined }
  | { readonly kind: 'ended'; readonly token: string }

/** The line for a new lock. `named`: it names its view, for a journal of several views. */
export function takenLine(
  { token, view, user, login, names, file, kind, deep, owner }: ActiveLock,
  expiry: Expiry,
  named = false,
): string {
  const scope = kind.scope.value
  const bound = file && [file.key, file.generation]
  return JSON.stringify({
    token,
    ...(named && { view }),
    names,
    file: bound,
    scope,
    deep,
    user,
    login,
    owner,
    seconds: kind.timeout,
    ...expiry,
  })
}

/** The line for a refreshed lock. */
export function refreshedLine(token: string, seconds: number, expiry: Expiry): string {
  return JSON.stringify({ token, seconds, ...expiry })
}

/** The line for a lock that is now on another file. */
export function boundLine({ token, file }: ActiveLock): string {
  return JSON.stringify({ token, bound: file === undefined ? null : [file.key, file.generation] })
}

/** The line for a lock that ended before its expiry. */
export function endedLine(token: string): string {
  return JSON.stringify({ token, ended: true })
}

/** Decodes a line of the journal of `view`, or of one of several views; undefined if it is invalid, for example because a power loss interrupted it. */
export function readLine(view: string | undefined, line: string): LockRecord | undefined {
  const value = parse(line)
  if (typeof value !== 'object' || value === null) return undefined
  const { token, ended, bound, seconds, names } = value as Record<string, unknown>
  if (typeof token !== 'string' || token === '') return undefined
  if (ended === true) return { kind: 'ended', token }
  if (bound !== undefined) return { kind: 'bound', token, file: readFile(bound) }
  const expiry = readExpiry(value as Record<string, unknown>)
  if (typeof seconds !== 'number' || expiry === undefined) return undefined
  if (names === undefined) return { kind: 'refreshed', token, seconds, expiry }
  return readTaken(view, token, value as Record<string, unknown>, expiry)
}

function readTaken(
  journal: string | undefined,
  token: string,
  value: Record<string, unknown>,
  expiry: Expiry,
): LockRecord | undefined {
  const { names, scope, deep, user, login, owner, seconds } = value
  const view = journal ?? value.view
  if (typeof view !== 'string') return undefined
  const scopeFound = [LockScope.Exclusive, LockScope.Shared].find((known) => known.value === scope)
  if (scopeFound === undefined || typeof deep !== 'boolean' || typeof user !== 'number') return undefined
  // Older versions wrote no login name.
  if (login !== undefined && typeof login !== 'string') return undefined
  if (typeof owner !== 'string' || !Array.isArray(names) || !names.every(isName)) return undefined
  const kind = new LockKind(scopeFound, LockType.Write, seconds as number)
  const file = readFile(value.file)
  const known = { ...(login !== undefined && { login }), ...(file && { file }) }
  const lock = { token, view, user, names, kind, deep, owner, expiresMs: expiry.expiresMs, ...known }
  return { kind: 'taken', lock, expiry }
}

function readExpiry({ expiresMs, boot, bootMs }: Record<string, unknown>): Expiry | undefined {
  if (typeof expiresMs !== 'number') return undefined
  return typeof boot === 'string' && typeof bootMs === 'number' ? { expiresMs, boot, bootMs } : { expiresMs }
}

function readFile(value: unknown): FileId | undefined {
  if (!Array.isArray(value) || !value.every((part) => Number.isSafeInteger(part))) return undefined
  return value.length === 2 ? { key: value[0] as number, generation: value[1] as number } : undefined
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
