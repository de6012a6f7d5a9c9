import type { Attr, Name } from '../../../overlay-core/index.ts'
import { FileType } from '../../../overlay-core/index.ts'
import { httpDate } from '../http/http-date.ts'
import { escapeAttribute } from '../http/xml-write.ts'
import type { DeadProperty } from './dead-properties.ts'

/** The namespace of the `Win32*` properties of Microsoft's redirector. */
export const MICROSOFT_NAMESPACE = 'urn:schemas-microsoft-com:'

/** Bits of `Win32FileAttributes` (MS-FSCC section 2.6). */
const READ_ONLY = 0x1
const HIDDEN = 0x2
const DIRECTORY = 0x10
const ARCHIVE = 0x20

const OWNER_WRITES = 0o200
const ALL_WRITE = 0o222

/** The object whose Windows properties are requested. */
interface Resource {
  readonly name: Name
  readonly attr: Attr
}

/**
 * The value of a Windows property that no client has set: the creation time, if the file system has one, and the attributes derived from the type, mode and name of the
 * file. Undefined for all other properties.
 */
export function win32Default(uri: string, local: string, resource: Resource): string | undefined {
  if (uri !== MICROSOFT_NAMESPACE) return undefined
  switch (local) {
    case 'Win32CreationTime':
      return resource.attr.btime && httpDate(resource.attr.btime.sec)
    case 'Win32FileAttributes':
      return attributesText(resource, (resource.name.startsWith('.') ? HIDDEN : 0) | ARCHIVE)
    default:
      return undefined
  }
}

/** A dead property as shown to clients: attributes are as a client has set them, except for the read-only and directory bits, which come from the file. */
export function shownDead(property: DeadProperty, resource: Resource): string {
  if (property.uri !== MICROSOFT_NAMESPACE || property.local !== 'Win32FileAttributes') return property.xml
  const kept = parseAttributes(/>([^<]*)</.exec(property.xml)?.[1] ?? '')
  return kept === undefined ? property.xml : win32Element(property.local, attributesText(resource, kept))
}

/** The mode of a file after its `Win32FileAttributes` are set to `text`: only the read-only bit counts, and only for files. Undefined if `text` is invalid. */
export function modeFromAttributes(text: string, mode: number, isFile: boolean): number | undefined {
  const bits = parseAttributes(text)
  if (bits === undefined || !isFile) return bits === undefined ? undefined : mode
  if ((bits & READ_ONLY) !== 0) return mode & ~ALL_WRITE
  return (mode & OWNER_WRITES) === 0 ? mode | OWNER_WRITES : mode
}

/** Serializes a Windows property as a self-contained element. */
export function win32Element(local: string, value: string): string {
  return `<x:${local} xmlns:x="${escapeAttribute(MICROSOFT_NAMESPACE)}">${value}</x:${local}>`
}

function attributesText({ attr }: Resource, kept: number): string {
  const directory = attr.type === FileType.directory
  let bits = kept & ~(READ_ONLY | DIRECTORY)
  if (directory) bits = (bits & ~ARCHIVE) | DIRECTORY
  else if ((attr.mode & ALL_WRITE) === 0) bits |= READ_ONLY
  return bits.toString(16).padStart(8, '0').toUpperCase()
}

function parseAttributes(text: string): number | undefined {
  return /^\s*[0-9a-f]{8}\s*$/i.test(text) ? Number.parseInt(text, 16) : undefined
}
