import { join } from 'node:path'

/** A version of a layer. It never changes. */
export interface LayerVersion {
  /** The name of the layer. */
  readonly layer: string
  /** The name of the version; by default its number. */
  readonly version: string
  /** Its number among the versions of the layer, from 1 on; the newest version has the largest one. */
  readonly serial: number
  /** `sha256:` and the digest of its content: that of its uncompressed tar file, as in the `diff_ids` of an OCI image. */
  readonly digest: string
  /** When it was added, in ms since the epoch. */
  readonly createdMs: number
  /** Where its content came from, for people. */
  readonly from: string
  /** The version of this layer to which its content was added, if it was made so. */
  readonly on?: string
}

/** The content of versions, by digest. Several versions may have the same. */
export interface LayerObject {
  readonly digest: string
  /** The size of its uncompressed tar file, in bytes. */
  readonly tarBytes: number
  /** The sizes of all regular files together, in bytes. */
  readonly bytes: number
  /** The number of its objects, with directories and whiteouts. */
  readonly objects: number
  /** Whether its marks are attributes `user.overlay.*`, because the server was not root when it was made. */
  readonly userxattr: boolean
}

/** The directory of the names, in the layer store. */
export const NAMES = 'names'
/** The directory of the contents. */
export const OBJECTS = 'objects'
/** The directory of what is being made. */
export const MAKING = 'making'
/** The record in the directory of a version, and of an object. */
export const VERSION_FILE = 'version.json'
export const OBJECT_FILE = 'object.json'
/** The link in the directory of a version to its content. */
export const OBJECT_LINK = 'object'
/** The tree itself, in the directory of an object. */
export const TREE = 'tree'

/** The lower of a version of a layer, which a stack can name as long as the version exists. */
export function pathOfVersion(store: string, layer: string, version: string): string {
  return join(store, NAMES, layer, version, OBJECT_LINK, TREE)
}

/** The hexadecimal digits of a digest. */
export function digitsOf(digest: string): string {
  return digest.replace(/^sha256:/, '')
}

/** Decodes what `JSON.stringify` made of a version; undefined if it is none. */
export function versionIn(value: unknown): LayerVersion | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { layer, version, serial, digest, createdMs, from, on } = value as Record<string, unknown>
  if (typeof layer !== 'string' || typeof version !== 'string' || !isDigest(digest)) return undefined
  if (!isCount(serial) || serial === 0 || !isCount(createdMs) || typeof from !== 'string') return undefined
  return { layer, version, serial, digest, createdMs, from, ...(typeof on === 'string' && { on }) }
}

/** Decodes what `JSON.stringify` made of an object; undefined if it is none. */
export function objectIn(value: unknown): LayerObject | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { digest, tarBytes, bytes, objects, userxattr } = value as Record<string, unknown>
  if (!isDigest(digest) || !isCount(tarBytes) || !isCount(bytes) || !isCount(objects) || typeof userxattr !== 'boolean')
    return undefined
  return { digest, tarBytes, bytes, objects, userxattr }
}

function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
