import type { RandomBytes } from '../random.ts'

/** What is kept of a view of a template, also while it is closed. */
export interface ViewRecord {
  /** 16 hexadecimal digits, random: handles, locks and the directory of the view go by it, and no other view ever has it. */
  readonly id: string
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** Its position in listings; above 0. */
  readonly order: number
  /** When it was made, in ms since the epoch. */
  readonly createdMs: number
}

/** A record of the registry. */
export type RegistryLine =
  | { readonly kind: 'made'; readonly view: ViewRecord }
  | { readonly kind: 'renamed'; readonly id: string; readonly name: string }
  /** The view is gone, and its directory is being deleted. */
  | { readonly kind: 'removed'; readonly id: string; readonly order: number }
  /** Its directory is gone too. */
  | { readonly kind: 'deleted'; readonly id: string; readonly order: number }

const ID = /^[0-9a-f]{16}$/
const ID_BYTES = 8

/** A new id. */
export function newViewId(random: RandomBytes): string {
  for (;;) {
    const id = Buffer.from(random(ID_BYTES)).toString('hex')
    if (isViewId(id)) return id
  }
}

/** Whether this is the id of a view. Its high half is not 0, because then it would be the number of an export in a file handle. */
export function isViewId(text: string): boolean {
  return ID.test(text) && !text.startsWith('00000000')
}

export function encodeLine(line: RegistryLine): string {
  return JSON.stringify(line.kind === 'made' ? { kind: line.kind, ...line.view } : line)
}

/** Decodes a record; undefined if it is none. */
export function decodeLine(text: string): RegistryLine | undefined {
  const value = parse(text)
  if (typeof value !== 'object' || value === null) return undefined
  const { kind, id, name, uid, gid, order, createdMs } = value as Record<string, unknown>
  if (typeof id !== 'string' || !isViewId(id)) return undefined
  if (kind === 'renamed') return typeof name === 'string' ? { kind, id, name } : undefined
  if (!isCount(order)) return undefined
  if (kind === 'removed' || kind === 'deleted') return { kind, id, order }
  if (kind !== 'made' || typeof name !== 'string' || !isCount(uid) || !isCount(gid)) return undefined
  return { kind, view: { id, name, uid, gid, order, createdMs: isCount(createdMs) ? createdMs : 0 } }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
