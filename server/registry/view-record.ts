import {
  type FreezeRecord,
  freezeRecordIn,
  isIdOrNone,
  type LayerRecord,
  layerIn,
  type Snapshot,
  snapshotIn,
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
  /** The view is gone, and its directory is being deleted. */
  | { readonly kind: 'removed'; readonly id: string; readonly order: number }
  /** Its directory is gone too. */
  | { readonly kind: 'deleted'; readonly id: string; readonly order: number }

export function encodeLine(line: RegistryLine): string {
  return JSON.stringify(line.kind === 'made' ? { kind: line.kind, ...line.view } : line)
}

/** Decodes a record; undefined if it is none. */
export function decodeLine(text: string): RegistryLine | undefined {
  const value = parse(text)
  if (typeof value !== 'object' || value === null) return undefined
  const { kind, id, name, uid, gid, order, createdMs, top, snapshots = [], versions } = value as Record<string, unknown>
  const { rebased, due } = value as Record<string, unknown>
  if (kind === 'frozen') return withKind(kind, freezeRecordIn(value))
  const layer = kind === 'layer' ? layerIn((value as { layer?: unknown }).layer) : undefined
  if (layer) return { kind: 'layer', layer }
  if (typeof id !== 'string' || !isViewId(id)) return undefined
  if (kind === 'renamed' || kind === 'forgotten') return typeof name === 'string' ? { kind, id, name } : undefined
  const layers = versionsIn(versions)
  if (kind === 'on') return layers && { kind, id, versions: layers, ...(due === true && { due }) }
  if (!isCount(order)) return undefined
  if (kind === 'removed' || kind === 'deleted') return { kind, id, order }
  if (kind !== 'made' || typeof name !== 'string' || !isCount(uid) || !isCount(gid)) return undefined
  const view = { id, name, uid, gid, order, createdMs: isCount(createdMs) ? createdMs : 0 }
  const kept = Array.isArray(snapshots) ? snapshots.map(snapshotIn).filter((each) => each !== undefined) : []
  if (!isIdOrNone(top)) return undefined
  return {
    kind,
    view: {
      ...view,
      ...(top !== undefined && { top }),
      ...(kept.length > 0 && { snapshots: kept }),
      ...(layers && { versions: layers }),
      ...(typeof rebased === 'string' && isViewId(rebased) && { rebased }),
      ...(due === true && { due }),
    },
  }
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
