import {
  type FreezeRecord,
  freezeRecordIn,
  isIdOrNone,
  type LayerRecord,
  layerIn,
  type Snapshot,
  snapshotIn,
  type TrashedSnapshot,
  trashedIn,
} from './layer-record.ts'
import { type LayerVersions, versionsIn } from './layer-versions.ts'
import { isViewId } from './view-id.ts'

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
  /** The topmost of its frozen layers; undefined without one. */
  readonly top?: string | undefined
  /** Its snapshots, oldest first. */
  readonly snapshots?: readonly Snapshot[] | undefined
  /** The version of each layer on which it lies, by the name of the layer, as far as its template does not name one. */
  readonly versions?: LayerVersions | undefined
  /** The layer that its upper became when it was last put on other versions; a report is kept of that. */
  readonly rebased?: string | undefined
  /** Whether it is put on the newest versions when it is opened next. */
  readonly due?: true | undefined
  /** Its removed snapshots that can still be restored, the latest last. */
  readonly trash?: readonly TrashedSnapshot[] | undefined
  /** When it ends by itself, in ms since the epoch; undefined: never. */
  readonly endsMs?: number | undefined
  /** Whether it ends when nobody has used it for its idle time. */
  readonly ephemeral?: boolean | undefined
}

/** A record of the registry. */
export type RegistryLine =
  | { readonly kind: 'made'; readonly view: ViewRecord }
  | { readonly kind: 'renamed'; readonly id: string; readonly name: string }
  /** It lies on these versions of layers from now on. */
  | { readonly kind: 'on'; readonly id: string; readonly versions: LayerVersions; readonly due?: true | undefined }
  /** Its upper was frozen. */
  | ({ readonly kind: 'frozen' } & FreezeRecord)
  /** A layer that exists. */
  | { readonly kind: 'layer'; readonly layer: LayerRecord }
  /** A snapshot was removed. */
  | { readonly kind: 'forgotten'; readonly id: string; readonly name: string }
  /** A snapshot was removed, and can be restored. */
  | { readonly kind: 'trashed'; readonly id: string; readonly name: string; readonly atMs: number }
  /** A removed snapshot is back under this name. */
  | { readonly kind: 'untrashed'; readonly id: string; readonly top: string; readonly name: string }
  /** A removed snapshot is gone for good. */
  | { readonly kind: 'emptied'; readonly id: string; readonly top: string }
  /** The view was removed, and can be restored. */
  | { readonly kind: 'binned'; readonly id: string; readonly atMs: number }
  /** A removed view is back under this name. */
  | { readonly kind: 'unbinned'; readonly id: string; readonly name: string }
  /** The view is gone, and its directory is being deleted. */
  | { readonly kind: 'removed'; readonly id: string; readonly order: number }
  /** Its directory is gone too. */
  | { readonly kind: 'deleted'; readonly id: string; readonly order: number }

/** A record about the layers and snapshots of a view. */
export type LayerLine = Extract<
  RegistryLine,
  { kind: 'frozen' | 'layer' | 'forgotten' | 'trashed' | 'untrashed' | 'emptied' }
>

const LAYER_KINDS: readonly RegistryLine['kind'][] = ['frozen', 'layer', 'forgotten', 'trashed', 'untrashed', 'emptied']

export function isAboutLayers(line: RegistryLine): line is LayerLine {
  return LAYER_KINDS.includes(line.kind)
}

export function encodeLine(line: RegistryLine): string {
  return JSON.stringify(line.kind === 'made' ? { kind: line.kind, ...line.view } : line)
}

/** Decodes a record; undefined if it is none. */
export function decodeLine(text: string): RegistryLine | undefined {
  const value = parse(text)
  if (typeof value !== 'object' || value === null) return undefined
  const { kind, id, name, uid, gid, order, createdMs, top, snapshots, ...others } = value as Record<string, unknown>
  const { versions, rebased, due, trash, endsMs, ephemeral } = others
  if (kind === 'frozen') return withKind(kind, freezeRecordIn(value))
  const layer = kind === 'layer' ? layerIn((value as { layer?: unknown }).layer) : undefined
  if (layer) return { kind: 'layer', layer }
  if (typeof id !== 'string' || !isViewId(id)) return undefined
  const ofTrash = trashLine(value as Record<string, unknown>, id)
  if (ofTrash) return ofTrash
  if (kind === 'renamed' || kind === 'forgotten') return typeof name === 'string' ? { kind, id, name } : undefined
  const layers = versionsIn(versions)
  if (kind === 'on') return layers && { kind, id, versions: layers, ...(due === true && { due }) }
  if (!isCount(order)) return undefined
  if (kind === 'removed' || kind === 'deleted') return { kind, id, order }
  if (kind !== 'made' || typeof name !== 'string' || !isCount(uid) || !isCount(gid)) return undefined
  const view = { id, name, uid, gid, order, createdMs: isCount(createdMs) ? createdMs : 0 }
  const kept = listIn(snapshots, snapshotIn)
  const removed = listIn(trash, trashedIn)
  if (!isIdOrNone(top)) return undefined
  const more = {
    ...(top !== undefined && { top }),
    ...(kept.length > 0 && { snapshots: kept }),
    ...(removed.length > 0 && { trash: removed }),
    ...(isCount(endsMs) && { endsMs }),
    ...(ephemeral === true && { ephemeral }),
    ...(layers && { versions: layers }),
    ...(typeof rebased === 'string' && isViewId(rebased) && { rebased }),
    ...(due === true && { due: true as const }),
  }
  return { kind, view: { ...view, ...more } }
}

/** A record about what was removed and can be restored. */
function trashLine({ kind, name, top, atMs }: Record<string, unknown>, id: string): RegistryLine | undefined {
  if (kind === 'binned' && isCount(atMs)) return { kind, id, atMs }
  if (kind === 'unbinned' && typeof name === 'string') return { kind, id, name }
  if (kind === 'trashed' && typeof name === 'string' && isCount(atMs)) return { kind, id, name, atMs }
  if (typeof top !== 'string' || !isViewId(top)) return undefined
  if (kind === 'untrashed' && typeof name === 'string') return { kind, id, top, name }
  return kind === 'emptied' ? { kind, id, top } : undefined
}

function listIn<T>(value: unknown, read: (each: unknown) => T | undefined): T[] {
  return Array.isArray(value) ? value.map(read).filter((each) => each !== undefined) : []
}

function withKind(kind: 'frozen', record: FreezeRecord | undefined): RegistryLine | undefined {
  return record && { kind, ...record }
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
