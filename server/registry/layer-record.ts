import { type LayerVersions, versionsIn } from './layer-versions.ts'
import { isViewId } from './view-id.ts'

/** A layer that was the upper of a view until it was frozen. */
export interface LayerRecord {
  /** 16 hexadecimal digits, random; its directory has this name. */
  readonly id: string
  /** The frozen layer below it; undefined if it lies on the layers of the template. */
  readonly below: string | undefined
}

/** A named state of a view. */
export interface Snapshot {
  readonly name: string
  /** The topmost of its frozen layers. */
  readonly top: string
  /** When it was taken, in ms since the epoch. */
  readonly createdMs: number
  /** The versions of layers on which it lies; undefined: those of the view. */
  readonly versions?: LayerVersions | undefined
}

/** A removed snapshot that can still be restored. */
export interface TrashedSnapshot extends Snapshot {
  /** In ms since the epoch. */
  readonly removedMs: number
}

export function trashedIn(value: unknown): TrashedSnapshot | undefined {
  const snapshot = snapshotIn(value)
  const { removedMs } = (value ?? {}) as Record<string, unknown>
  return snapshot && typeof removedMs === 'number' ? { ...snapshot, removedMs } : undefined
}

/** What a freeze of a view changes: its upper becomes `layer`, and a fresh upper lies on `top`. */
export interface FreezeRecord {
  readonly view: string
  readonly layer: LayerRecord
  /** The topmost frozen layer of the view from then on; undefined if it has none. */
  readonly top: string | undefined
  /** The snapshot that keeps what the view contained. */
  readonly snapshot: Snapshot | undefined
  /** The versions of layers on which the view lies from then on; undefined: they stay. */
  readonly versions?: LayerVersions | undefined
  /** Whether the fresh upper has the changes of the view on other versions (a rebase), of which a report is kept. */
  readonly rebased?: boolean | undefined
}

/** Decodes what `JSON.stringify` made of a record; undefined if it is none. */
export function freezeRecordIn(value: unknown): FreezeRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { view, layer, top, snapshot, versions, rebased } = value as Record<string, unknown>
  const ofLayer = layerIn(layer)
  const ofSnapshot = snapshotIn(snapshot)
  if (typeof view !== 'string' || !isViewId(view) || ofLayer === undefined || !isIdOrNone(top)) return undefined
  if (snapshot !== undefined && ofSnapshot === undefined) return undefined
  const onVersions = versionsIn(versions)
  return {
    ...{ view, layer: ofLayer, top, snapshot: ofSnapshot },
    ...(onVersions && { versions: onVersions }),
    ...(rebased === true && { rebased }),
  }
}

export function layerIn(value: unknown): LayerRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { id, below } = value as Record<string, unknown>
  return typeof id === 'string' && isViewId(id) && isIdOrNone(below) ? { id, below } : undefined
}

export function snapshotIn(value: unknown): Snapshot | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { name, top, createdMs, versions } = value as Record<string, unknown>
  const onVersions = versionsIn(versions)
  if (typeof name !== 'string' || typeof top !== 'string' || !isViewId(top)) return undefined
  const known = { name, top, createdMs: typeof createdMs === 'number' ? createdMs : 0 }
  return onVersions ? { ...known, versions: onVersions } : known
}

export function isIdOrNone(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && isViewId(value))
}
