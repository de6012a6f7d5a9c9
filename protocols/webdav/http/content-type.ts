import type { Name } from '../../../overlay-core/index.ts'

const UTF8 = '; charset=utf-8'

/** Media types by file extension, for what browsers and clients treat in a way of its own. */
const TYPES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    '7z': 'application/x-7z-compressed',
    avi: 'video/x-msvideo',
    avif: 'image/avif',
    bmp: 'image/bmp',
    bz2: 'application/x-bzip2',
    c: `text/plain${UTF8}`,
    conf: `text/plain${UTF8}`,
    css: `text/css${UTF8}`,
    csv: `text/csv${UTF8}`,
    deb: 'application/vnd.debian.binary-package',
    doc: 'application/msword',
    docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    epub: 'application/epub+zip',
    flac: 'audio/flac',
    gif: 'image/gif',
    gz: 'application/gzip',
    h: `text/plain${UTF8}`,
    htm: `text/html${UTF8}`,
    html: `text/html${UTF8}`,
    ico: 'image/vnd.microsoft.icon',
    ics: `text/calendar${UTF8}`,
    iso: 'application/x-iso9660-image',
    jpeg: 'image/jpeg',
    jpg: 'image/jpeg',
    js: `text/javascript${UTF8}`,
    json: 'application/json',
    log: `text/plain${UTF8}`,
    m4a: 'audio/mp4',
    md: `text/markdown${UTF8}`,
    mjs: `text/javascript${UTF8}`,
    mkv: 'video/matroska',
    mov: 'video/quicktime',
    mp3: 'audio/mpeg',
    mp4: 'video/mp4',
    odp: 'application/vnd.oasis.opendocument.presentation',
    ods: 'application/vnd.oasis.opendocument.spreadsheet',
    odt: 'application/vnd.oasis.opendocument.text',
    ogg: 'audio/ogg',
    opus: 'audio/ogg',
    otf: 'font/otf',
    pdf: 'application/pdf',
    png: 'image/png',
    ppt: 'application/vnd.ms-powerpoint',
    pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
    ps: 'application/postscript',
    py: `text/plain${UTF8}`,
    rpm: 'application/x-rpm',
    rtf: 'application/rtf',
    sh: `text/plain${UTF8}`,
    svg: 'image/svg+xml',
    tar: 'application/x-tar',
    tgz: 'application/gzip',
    tif: 'image/tiff',
    tiff: 'image/tiff',
    toml: 'application/toml',
    ttf: 'font/ttf',
    txt: `text/plain${UTF8}`,
    vcf: `text/vcard${UTF8}`,
    wasm: 'application/wasm',
    wav: 'audio/wav',
    weba: 'audio/webm',
    webm: 'video/webm',
    webp: 'image/webp',
    woff: 'font/woff',
    woff2: 'font/woff2',
    xhtml: 'application/xhtml+xml',
    xls: 'application/vnd.ms-excel',
    xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
    xml: 'application/xml',
    xz: 'application/x-xz',
    yaml: 'application/yaml',
    yml: 'application/yaml',
    zip: 'application/zip',
    zst: 'application/zstd',
  }),
)

/** The media type of a file by the extension of its name; `application/octet-stream` when nothing is known. */
export function contentTypeOf(name: Name): string {
  const dot = name.lastIndexOf('.')
  if (dot <= 0 || name.length - dot > 8) return 'application/octet-stream'
  return TYPES.get(name.slice(dot + 1).toLowerCase()) ?? 'application/octet-stream'
}

/**
 * Whether a browser that opens a file of this type runs what is in it. Such a file was put there by anybody, and would act with the rights of whoever looks at it: it
 * is shown in a sandbox, without scripts and as a stranger to this server.
 */
export function runsScripts(type: string): boolean {
  return type.startsWith('text/html') || type.includes('xml')
}
