import { types } from 'mime-types'
import type { Name } from '../../../overlay-core/index.ts'

const UNKNOWN = 'application/octet-stream'

/** Extensions of source code, which browsers display only as plain text. The registry gives some of them types that browsers download. */
const SOURCES =
  'bash c cc cfg conf cpp cs cxx diff go h hpp ini java kt log lua mk mts patch pl py rb rs sh sql swift tex ts tsx'

/** Extensions that the library does not know, or for which it is older than the registry. */
const OWN: Readonly<Record<string, string>> = {
  tgz: 'application/gzip',
  vcf: 'text/vcard',
  zst: 'application/zstd',
}

/** Media types by file extension. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ...Object.entries({ ...types, ...OWN }).map(([extension, type]): [string, string] => [extension, withCharset(type)]),
  ...SOURCES.split(' ').map((extension): [string, string] => [extension, withCharset('text/plain')]),
])

/** The longest extension that has a type. */
const LONGEST = Math.max(...[...TYPES.keys()].map(({ length }) => length))

/** Declares text as UTF-8, because browsers would guess otherwise. */
function withCharset(type: string): string {
  return type.startsWith('text/') ? `${type}; charset=utf-8` : type
}

/** The media type of a file according to its extension; `application/octet-stream` if unknown. */
export function contentTypeOf(name: Name): string {
  const dot = name.lastIndexOf('.')
  if (dot <= 0 || name.length - dot > LONGEST + 1) return UNKNOWN
  return TYPES.get(name.slice(dot + 1).toLowerCase()) ?? UNKNOWN
}

/**
 * Whether a browser that opens a file of this type runs scripts in it. Anybody may have uploaded such a file, and its scripts would act with the rights of the viewer, so it
 * is served in a sandbox without scripts and with a foreign origin.
 */
export function runsScripts(type: string): boolean {
  return type.startsWith('text/html') || /xml|mathml/.test(type)
}
