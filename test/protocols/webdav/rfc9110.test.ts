import t from 'tap'
import { lockInfo, withDav } from './dav-fixture.ts'
import { type Rule, type Step, takeLock, testRules } from './rule.ts'

const LONG_AGO = 'Thu, 01 Jan 1998 00:00:00 GMT'
const LATER = 'Fri, 01 Jan 2038 00:00:00 GMT'
const UPDATE = '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x"/></D:prop></D:set></D:propertyupdate>'

/** A request of each method on the existing file `/overlay/f`, with the status it has when no condition is in its way. */
const ON_FILE: readonly Step[] = [
  { ask: 'GET /overlay/f', status: 200 },
  { ask: 'HEAD /overlay/f', status: 200 },
  { ask: 'PROPFIND /overlay/f', headers: { depth: '0' }, status: 207 },
  { ask: 'PROPPATCH /overlay/f', body: UPDATE, status: 207 },
  { ask: 'PUT /overlay/f', body: 'x', status: 204 },
  { ask: 'LOCK /overlay/f', body: lockInfo(), status: 200 },
  { ask: 'COPY /overlay/f', headers: { destination: '/overlay/copy' }, status: 201 },
  { ask: 'MOVE /overlay/f', headers: { destination: '/overlay/moved' }, status: 201 },
  { ask: 'DELETE /overlay/f', status: 204 },
]
/** The same for the free name `/overlay/free`. */
const ON_FREE: readonly Step[] = [
  { ask: 'PUT /overlay/free', body: 'x', status: 201 },
  { ask: 'MKCOL /overlay/free', status: 201 },
  { ask: 'LOCK /overlay/free', body: lockInfo(), status: 201 },
]

/** Conditions on a file with the ETag {E}, and whether they hold. */
const CONDITIONS: readonly [Record<string, string>, boolean][] = [
  [{ 'if-match': '{E}' }, true],
  [{ 'if-match': '"x", {E}' }, true],
  [{ 'if-match': '*' }, true],
  [{ 'if-match': '"x"' }, false],
  [{ 'if-match': 'W/{E}' }, false],
  [{ 'if-none-match': '"x"' }, true],
  [{ 'if-none-match': '{E}' }, false],
  [{ 'if-none-match': 'W/{E}' }, false],
  [{ 'if-none-match': '*' }, false],
  [{ 'if-unmodified-since': LATER }, true],
  [{ 'if-unmodified-since': LONG_AGO }, false],
  [{ 'if-unmodified-since': 'garbage' }, true],
  [{ 'if-match': '{E}', 'if-unmodified-since': LONG_AGO }, true],
]

const read = (ask: string) => /^(GET|HEAD)/.test(ask)
const preconditions: Rule[] = ON_FILE.map((step) => ({
  rule: `13: ${step.ask.split(' ')[0]} heeds every condition on an existing file`,
  steps: [
    { ask: 'GET /overlay/f', status: 200, etag: 'E' },
    ...CONDITIONS.filter(([, holds]) => !holds).map(([fields]) => ({
      ...step,
      headers: { ...step.headers, ...fields },
      status: read(step.ask) && 'if-none-match' in fields ? 304 : 412,
    })),
    { ask: 'GET /overlay/f', status: 200, fields: { etag: /./ }, has: /^content$/ },
    { ...step, headers: { ...step.headers, 'if-match': '{E}', 'if-unmodified-since': LONG_AGO } },
  ],
}))
const satisfied: Rule[] = CONDITIONS.filter(([, holds]) => holds).map(([fields]) => ({
  rule: `13: PUT and GET go on with ${JSON.stringify(fields)}`,
  steps: [
    { ask: 'GET /overlay/f', status: 200, etag: 'E' },
    { ask: 'GET /overlay/f', headers: fields, status: 200 },
    { ask: 'PUT /overlay/f', headers: fields, body: 'x', status: 204 },
  ],
}))
const onFree: Rule[] = ON_FREE.map((step) => ({
  rule: `13: ${step.ask.split(' ')[0]} heeds conditions on a free name`,
  steps: [
    { ...step, headers: { 'if-match': '*' }, status: 412 },
    { ...step, headers: { 'if-match': '"x"' }, status: 412 },
    { ask: 'GET /overlay/free', status: 404 },
    { ...step, headers: { 'if-none-match': '*' } },
  ],
}))

const RULES: readonly Rule[] = [
  ...preconditions,
  ...satisfied,
  ...onFree,
  {
    rule: '13.2.1: conditions do not count where the answer without them is an error',
    steps: [
      { ask: 'GET /overlay/none', headers: { 'if-match': '"x"' }, status: 404 },
      { ask: 'DELETE /overlay/none', headers: { 'if-match': '"x"' }, status: 404 },
      { ask: 'PUT /overlay/d', headers: { 'if-match': '"x"' }, body: 'x', status: 405 },
      takeLock('/overlay/f', 'X'),
      ...ON_FILE.slice(3, 6).map((step) => ({ ...step, headers: { 'if-none-match': '*' }, status: 423 })),
      { ask: 'PUT /overlay/f', headers: { if: '(<{X}>)', 'if-none-match': '*' }, body: 'x', status: 412 },
    ],
  },
  {
    rule: '13.1.3: If-Modified-Since is for GET and HEAD, and gives way to If-None-Match',
    steps: [
      {
        ask: 'GET /overlay/f',
        headers: { 'if-modified-since': LATER },
        status: 304,
        fields: { etag: /./, 'last-modified': /GMT/, 'content-length': undefined },
      },
      { ask: 'HEAD /overlay/f', headers: { 'if-modified-since': LATER }, status: 304 },
      { ask: 'GET /overlay/f', headers: { 'if-modified-since': LONG_AGO }, status: 200 },
      { ask: 'GET /overlay/f', headers: { 'if-modified-since': LATER, 'if-none-match': '"x"' }, status: 200 },
      { ask: 'PUT /overlay/f', headers: { 'if-modified-since': LATER }, body: 'x', status: 204 },
      { ask: 'PROPFIND /overlay/f', headers: { depth: '0', 'if-modified-since': LATER }, status: 207 },
    ],
  },
  {
    rule: '14.2: ranges: first-last, first-, suffix; in the order asked; 416 with the size when none exists',
    steps: [
      {
        ask: 'GET /overlay/f',
        headers: { range: 'bytes=1-3' },
        status: 206,
        has: /^ont$/,
        fields: { 'content-range': /^bytes 1-3\/7$/, 'content-length': /^3$/ },
      },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=5-' }, status: 206, has: /^nt$/ },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=-2' }, status: 206, has: /^nt$/ },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=-100' }, status: 206, has: /^content$/ },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=0-0' }, status: 206, has: /^c$/ },
      {
        ask: 'GET /overlay/f',
        headers: { range: 'bytes=7-' },
        status: 416,
        fields: { 'content-range': /^bytes \*\/7$/ },
      },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=-0' }, status: 416 },
      {
        ask: 'GET /overlay/f',
        headers: { range: 'bytes=0-0,5-6' },
        status: 206,
        has: /Content-Range: bytes 0-0\/7\r\n\r\nc\r\n--.*Content-Range: bytes 5-6\/7\r\n\r\nnt\r\n--.*--\r\n$/s,
        fields: { 'content-type': /^multipart\/byteranges; boundary=/ },
      },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=5-6,0-0,99-' }, status: 206, has: /bytes 5-6.*bytes 0-0/s },
      {
        ask: 'HEAD /overlay/f',
        headers: { range: 'bytes=0-0' },
        status: 200,
        fields: { 'content-length': /^7$/, 'accept-ranges': /^bytes$/ },
      },
    ],
  },
  {
    rule: '14.2: a Range that is malformed, of another unit, too many or more than the file is ignored',
    steps: ['bytes=3-1', 'bytes=x-', 'lines=0-1', 'bytes=', 'bytes=0-6,0-6', `bytes=${'0-0,'.repeat(40)}`].map(
      (range) => ({
        ask: 'GET /overlay/f',
        headers: { range },
        status: 200,
        has: /^content$/,
      }),
    ),
  },
  {
    rule: '13.1.5: If-Range: the range counts while the file is the same, else the whole file comes',
    steps: [
      { ask: 'GET /overlay/f', status: 200, etag: 'E' },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=0-0', 'if-range': '{E}' }, status: 206 },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=0-0', 'if-range': 'W/{E}' }, status: 200 },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=0-0', 'if-range': '"x"' }, status: 200 },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=99-', 'if-range': '"x"' }, status: 200 },
      {
        ask: 'GET /overlay/f',
        headers: { range: 'bytes=0-0', 'if-range': 'Sun, 09 Sep 2001 01:46:40 GMT' },
        status: 206,
      },
      { ask: 'GET /overlay/f', headers: { range: 'bytes=0-0', 'if-range': LONG_AGO }, status: 200 },
    ],
  },
  {
    rule: '9.3.2: HEAD gives the fields of GET and no content',
    steps: [
      {
        ask: 'HEAD /overlay/f',
        status: 200,
        has: /^$/,
        fields: { 'content-length': /^7$/, etag: /^"/, 'last-modified': /GMT$/, 'content-type': /./ },
      },
      { ask: 'HEAD /overlay/d', status: 200, has: /^$/ },
      { ask: 'HEAD /overlay/none', status: 404, has: /^$/ },
      { ask: 'HEAD /', status: 200, has: /^$/ },
    ],
  },
  {
    rule: '8.4, 14.4: a body in a coding, and a PUT of a range that is malformed, are refused',
    steps: [
      { ask: 'PUT /overlay/f', headers: { 'content-encoding': 'gzip' }, body: 'x', status: 415 },
      { ask: 'PUT /overlay/f', headers: { 'content-encoding': 'identity' }, body: 'content', status: 204 },
      { ask: 'PUT /overlay/f', headers: { 'content-range': 'bytes x' }, body: 'x', status: 400 },
      { ask: 'GET /overlay/f', status: 200, has: /^content$/ },
    ],
  },
  {
    rule: 'no page of another site is let in: no field of CORS, also for its preflight',
    steps: ['GET', 'OPTIONS', 'PUT'].map((method) => ({
      ask: `${method} /overlay/f`,
      headers: { origin: 'http://elsewhere.example', 'access-control-request-method': 'PUT' },
      ...(method === 'PUT' ? { body: 'x', status: 204 } : { status: 200 }),
      fields: { 'access-control-allow-origin': undefined, 'access-control-allow-methods': undefined },
    })),
  },
]

testRules(t, RULES)

t.test('10.1.1: who waits for 100 Continue gets it when the upload is welcome, else the refusal alone', async (t) => {
  await withDav(t, [{ f: 'content' }], async ({ raw, upper }) => {
    const put = (path: string, more = '') =>
      `PUT ${path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n${more}Connection: close\r\n\r\n`
    t.match(await raw(`${put('/overlay/new')}abc`), /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 201 /)
    for (const refused of [put('/overlay/f', 'If-None-Match: *\r\n'), put('/overlay/no/new'), put('/overlay/')]) {
      t.match(await raw(refused), /^HTTP\/1.1 4\d\d /)
    }
    t.same((await import('node:fs')).readdirSync(upper), ['new'])
  })
})

t.test('7.1 of RFC 9112: a chunked body without a length is taken by every method that has one', async (t) => {
  await withDav(t, [{ f: 'content' }], async ({ raw }) => {
    const send = (head: string, body: string) => {
      const half = Math.ceil(body.length / 2)
      const chunks = [body.slice(0, half), body.slice(half)].map(
        (piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`,
      )
      return raw(
        `${head}\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks.join('')}0\r\n\r\n`,
      )
    }
    t.match(await send('PUT /overlay/new HTTP/1.1', 'chunky'), /^HTTP\/1.1 201 /)
    t.match(await raw('GET /overlay/new HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), /\r\n\r\nchunky$/)
    t.match(await send('PROPPATCH /overlay/f HTTP/1.1', UPDATE), /^HTTP\/1.1 207 /)
    t.match(await send('LOCK /overlay/f HTTP/1.1', lockInfo()), /^HTTP\/1.1 200 /)
    t.match(
      await send('PROPFIND /overlay/f HTTP/1.1\r\nDepth: 0', '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'),
      /^HTTP\/1.1 207 /,
    )
    t.match(
      await raw('PUT /overlay/x HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1.1 400 /,
      'no Host',
    )
  })
})
