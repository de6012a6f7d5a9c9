import { types } from 'mime-types'
import type { Name } from '../../../overlay-core/index.ts'

const UNKNOWN = 'application/octet-stream'

/** Sources of programs, which browsers show only as plain text; the registry has names for some that every browser downloads. */
const SOURCES =
  'bash c cc cfg conf cpp cs cxx diff go h hpp ini java kt log lua mk mts patch pl py rb rs sh sql swift tex ts tsx'

/** Extensions of which the library knows nothing, or something older than the registry. */
const OWN: Readonly<Record<string, string>> = {
  tgz: 'application/gzip',
  vcf: 'text/vcard',
  zst: 'application/zstd',
}

/** Media types as they are sent, by file extension. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ...Object.entries({ ...types, ...OWN }).map(([extension, type]): [string, string] => [extension, withCharset(type)]),
  ...SOURCES.split(' ').map((extension): [string, string] => [extension, withCharset('text/plain')]),
])

/** The longest extension that has a type. */
const LONGEST = Math.max(...[...TYPES.keys()].map(({ length }) => length))

/** Text is taken for UTF-8; without the word browsers guess. */
function withCharset(type: string): string {
  return type.startsWith('text/') ? `${type}; charset=utf-8` : type
}

/** The media type of a file by the extension of its name; `application/octet-stream` when nothing is known. */
export function contentTypeOf(name: Name): string {
  const dot = name.lastIndexOf('.')
  if (dot <= 0 || name.length - dot > LONGEST + 1) return UNKNOWN
  return TYPES.get(name.slice(dot + 1).toLowerCase()) ?? UNKNOWN
}

/**
 * Whether a browser that opens a file of this type runs what is in it. Such a file was put there by anybody, and would act with the rights of whoever looks at it: it
 * is shown in a sandbox, without scripts and as a stranger to this server.
 */
export function runsScripts(type: string): boolean {
  return type.startsWith('text/html') || /xml|mathml/.test(type)
}
