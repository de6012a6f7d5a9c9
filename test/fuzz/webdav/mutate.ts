import type { Random } from '../../differential/random.ts'
import type { WireRequest } from './corpus.ts'

const METHODS =
  'GET HEAD OPTIONS PUT DELETE MKCOL COPY MOVE LOCK UNLOCK PROPFIND PROPPATCH REPORT SEARCH POST PATCH TRACE'.split(' ')
/** What URLs tend to break on. */
const SEGMENTS = [
  ...['..', '.', '', '%2e%2e', '%252e%252e', '%2f', '%00', '%', '%zz', '%ff', '%c3%28', '#', '?', '\\', '*', ';', '//'],
  ...['__proto__', 'constructor', 'd', 'a', 'sub', 'e', '\xff', '%E4%B8%AD', 'n'.repeat(256), 'a/'.repeat(300)],
]
const FIELDS = [
  ...[
    'Depth: 0',
    'Depth: 1',
    'Depth: infinity',
    'Depth: -1',
    'Overwrite: F',
    'Overwrite: ?',
    'Destination: /overlay/e',
  ],
  ...[
    'Destination: http://x/overlay/../e',
    'Destination: //x',
    'Destination: ',
    'If: (<a:b>)',
    'If: ((((',
    'If: (Not [W/"x"])',
  ],
  ...['If: </overlay/d> (<DAV:no-lock>)', 'Lock-Token: <x>', 'Timeout: Second-99999999999999999999', 'Range: bytes=-'],
  ...[
    'Range: bytes=0-99999999999999999999',
    'If-Match: *',
    'If-None-Match: *',
    'If-Unmodified-Since: x',
    'Expect: 100-continue',
  ],
  ...[
    'Content-Length: 0',
    'Content-Length: 99999999999',
    'Content-Length: -1',
    'Transfer-Encoding: chunked',
    'Content-Encoding: gzip',
  ],
  ...[
    'Content-Range: bytes 5-2/1',
    'X-OC-Mtime: 1e99',
    'OC-Checksum: x',
    'Connection: close',
    'Host: ',
    'Upgrade: h2c',
  ],
  `X: ${'y'.repeat(20_000)}`,
]
const XML = [
  ...['<a>', '</a>', '<a/>', '<!--', '-->', '<![CDATA[', ']]>', '&e;', '&#0;', '&#x110000;', '<?x y?>', '<!DOCTYPE a>'],
  ...[
    ' xmlns:D=""',
    ' xmlns="urn:x"',
    '<D:prop/>',
    '<x:y/>',
    '\0',
    '\xff\xfe',
    '"',
    '\ufffe',
    '<a>'.repeat(40),
    '<b/>'.repeat(1200),
  ],
]

/** `request` with one to four changes, made of its own parts and those of `other`, as bytes for the wire. */
export function mutate(random: Random, request: WireRequest, other: WireRequest): Buffer {
  let { line, fields, body } = request
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    switch (random.below(7)) {
      case 0:
        line = line.replace(/^\S*/, random.pick(METHODS))
        break
      case 1:
        line = line.replace(/ \S*/, (target) => splice(random, target, random.pick(SEGMENTS)))
        break
      case 2:
        fields = [...fields, random.pick([...FIELDS, ...other.fields])]
        break
      case 3:
        fields = fields.map((field) => (random.chance(30) ? splice(random, field, random.pick(SEGMENTS)) : field))
        break
      case 4:
        body = splice(random, body, random.pick(XML))
        break
      case 5:
        body = random.chance(50) ? other.body : splice(random, body, body.slice(random.below(body.length + 1)))
        break
      default:
        body = flip(random, body)
    }
  }
  return toWire(random, { line, fields, body })
}

function toWire(random: Random, { line, fields, body }: WireRequest): Buffer {
  const framed = fields.some((field) => /^(content-length|transfer-encoding):/i.test(field))
  const length = framed || body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body, 'latin1')}`]
  const text = `${[line, ...fields, ...length, 'Connection: close'].join('\r\n')}\r\n\r\n${body}`
  return Buffer.from(random.chance(5) ? flip(random, text) : text, 'latin1')
}

/** Puts `piece` in, over what stands there or between. */
function splice(random: Random, text: string, piece: string): string {
  const at = random.below(text.length + 1)
  return text.slice(0, at) + piece + text.slice(at + random.below(4))
}

function flip(random: Random, text: string): string {
  if (text === '') return text
  const at = random.below(text.length)
  return text.slice(0, at) + String.fromCharCode(random.below(256)) + text.slice(at + 1)
}
