import t from 'tap'
import { type Rule, takeLock, testRules } from './rule.ts'

const dest = (path: string, more: Record<string, string> = {}) => ({ destination: `/overlay/${path}`, ...more })
const find = (path: string, depth: string, status = 207, body?: string) => ({
  ask: `PROPFIND ${path}`,
  headers: { depth },
  status,
  ...(body === undefined ? {} : { body }),
})
const patch = (...parts: string[]) =>
  `<D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x">${parts.join('')}</D:propertyupdate>`
const set = (xml: string) => `<D:set><D:prop>${xml}</D:prop></D:set>`
const asked = (xml: string) => `<D:propfind xmlns:D="DAV:" xmlns:x="urn:x"><D:prop>${xml}</D:prop></D:propfind>`
const TEXT = { 'content-type': 'text/plain; charset=utf-8' }

const RULES: readonly Rule[] = [
  {
    rule: '8.2: what the body of a method must not hold is refused: no XML, another root, DOCTYPE, external entities',
    steps: [
      { ask: 'PROPFIND /overlay/', headers: { depth: '0' }, body: 'x', status: 400 },
      { ask: 'PROPFIND /overlay/', headers: { depth: '0' }, body: '<D:x xmlns:D="DAV:"/>', status: 400 },
      {
        ask: 'PROPFIND /overlay/',
        headers: { depth: '0' },
        body: '<!DOCTYPE a><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>',
        status: 400,
      },
      {
        ask: 'PROPPATCH /overlay/f',
        body: '<!DOCTYPE a SYSTEM "http://x/"><a/>',
        status: 403,
        has: /<D:no-external-entities\/>/,
      },
      { ask: 'MKCOL /overlay/new', headers: TEXT, body: 'x', status: 415 },
    ],
  },
  {
    rule: '8.3: URLs: dot segments, NUL and encoded slashes are refused, also when encoded; a percent sign is decoded once',
    tree: { 'a%2fb': 'percent', 'a%252fb': 'twice' },
    steps: [
      ...[
        '/overlay/%2e%2e/x',
        '/overlay/%2E',
        '/overlay/a%2fb',
        '/overlay/a%2Fb',
        '/overlay/a%00',
        '/overlay/%',
        '/overlay/%4',
        '/overlay/%zz',
        '/overlay/%252e%252e/x',
        '/overlay/%252E',
      ].flatMap((path) => [
        { ask: `GET ${path}`, status: 400 },
        { ask: `PUT ${path}`, body: 'x', status: 400 },
        { ask: 'COPY /overlay/a%252fb', headers: { destination: path }, status: 400 },
      ]),
      { ask: 'GET /overlay/a%252fb', status: 200, has: /^percent$/ },
      { ask: 'GET /overlay/a%25252fb', status: 200, has: /^twice$/ },
    ],
  },
  {
    rule: '9.1: PROPFIND takes Depth 0 and 1; infinity, also when Depth is absent, is refused with its precondition',
    steps: [
      find('/overlay/d', 'infinity', 403),
      {
        ask: 'PROPFIND /overlay/d',
        status: 403,
        has: /<D:error xmlns:D="DAV:"><D:propfind-finite-depth\/><\/D:error>/,
      },
      { ask: 'PROPFIND /', status: 403, has: /propfind-finite-depth/ },
      { ...find('/overlay/d', '0'), lacks: /\/d\/a</ },
      { ...find('/overlay/d', '1'), has: /\/d\/a</, lacks: /\/d\/sub\/b</ },
      find('/overlay/d', '2', 400),
      find('/overlay/none', '0', 404),
      find('/overlay/none', '1', 404),
    ],
  },
  {
    rule: '9.1: Depth infinity is answered where the operator allows it, for a tree and for all views',
    settings: { depthInfinity: true },
    steps: [
      { ...find('/overlay/d', 'infinity'), has: /\/d\/<.*\/d\/sub\/<.*\/d\/sub\/b</ },
      { ask: 'PROPFIND /overlay/', status: 207, has: /\/d\/sub\/b</ },
      { ...find('/', 'infinity'), has: /<D:href>\/<.*\/overlay\/<.*\/overlay\/d\/sub\/b</ },
      { ...find('/overlay/f', 'infinity'), has: /\/overlay\/f</ },
    ],
  },
  {
    rule: '9.1: named properties come in two propstats, 200 and 404; allprop leaves costly ones out; propname gives no values',
    steps: [
      {
        ...find('/overlay/f', '0', 207, asked('<D:getcontentlength/><x:none/>')),
        has: /<D:getcontentlength>7<\/D:getcontentlength><\/D:prop><D:status>HTTP\/1.1 200 OK<.*<x:none xmlns:x="urn:x"\/><\/D:prop><D:status>HTTP\/1.1 404 Not Found</,
      },
      {
        ...find('/overlay/f', '0', 207, '<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'),
        lacks: /quota|checksum/,
      },
      {
        ...find(
          '/overlay/f',
          '0',
          207,
          '<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:quota-used-bytes/></D:include></D:propfind>',
        ),
        has: /<D:quota-used-bytes\/><\/D:prop><D:status>HTTP\/1.1 404/,
      },
      {
        ...find('/overlay/f', '0', 207, '<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>'),
        has: /<D:getetag\/>/,
        lacks: /<D:getetag>/,
      },
      find('/overlay/f', '0', 400, '<D:propfind xmlns:D="DAV:"><D:propname/><D:allprop/></D:propfind>'),
    ],
  },
  {
    rule: '9.2: PROPPATCH does all or nothing, in document order, and says 424 for what would have worked',
    steps: [
      {
        ask: 'PROPPATCH /overlay/f',
        body: patch(set('<x:p>1</x:p>'), set('<D:getetag>2</D:getetag>')),
        status: 207,
        has: /<x:p [^>]*\/><\/D:prop><D:status>HTTP\/1.1 424.*<D:getetag\/><\/D:prop><D:status>HTTP\/1.1 403 Forbidden<\/D:status><D:error><D:cannot-modify-protected-property\/>/,
      },
      { ...find('/overlay/f', '0'), lacks: /urn:x/ },
      {
        ask: 'PROPPATCH /overlay/f',
        body: patch(set('<x:p>1</x:p>'), '<D:remove><D:prop><x:p/></D:prop></D:remove>', set('<x:q/>')),
        status: 207,
      },
      { ...find('/overlay/f', '0'), has: /<x:q xmlns:x="urn:x"\/>/, lacks: /<x:p/ },
      { ask: 'PROPPATCH /overlay/none', body: patch(set('<x:p/>')), status: 404 },
    ],
  },
  {
    rule: '9.3: MKCOL makes one collection where there is nothing: 405 what exists, 409 no parent',
    steps: [
      { ask: 'MKCOL /overlay/new/', status: 201 },
      { ask: 'MKCOL /overlay/new', status: 405, fields: { allow: /^(?!.*(MKCOL|PUT)).*PROPFIND/ } },
      { ask: 'MKCOL /overlay/f', status: 405, fields: { allow: /PUT/ } },
      { ask: 'MKCOL /overlay/no/new', status: 409 },
      { ask: 'MKCOL /overlay/f/new', status: 409 },
      { ask: 'MKCOL /overlay/', status: 405 },
    ],
  },
  {
    rule: '9.6: DELETE takes a whole collection, and no other Depth than infinity for it; the root stays',
    steps: [
      { ask: 'DELETE /overlay/d', headers: { depth: '0' }, status: 400 },
      { ask: 'DELETE /overlay/d', headers: { depth: '1' }, status: 400 },
      { ask: 'DELETE /overlay/d', headers: { depth: 'infinity' }, status: 204 },
      { ask: 'GET /overlay/d/a', status: 404 },
      { ask: 'DELETE /overlay/d', status: 404 },
      { ask: 'DELETE /overlay/', status: 403 },
      { ask: 'DELETE /', status: 405 },
    ],
  },
  {
    rule: '9.7: PUT makes no parents (409) and no collections (405)',
    steps: [
      { ask: 'PUT /overlay/no/new', body: 'x', status: 409 },
      { ask: 'PUT /overlay/d', body: 'x', status: 405, fields: { allow: /^(?!.*PUT).*PROPFIND/ } },
      { ask: 'PUT /overlay/f/new', body: 'x', status: 409 },
      { ask: 'PUT /overlay/new', body: 'x', status: 201, fields: { etag: /^"/, 'last-modified': /GMT$/ } },
      { ask: 'PUT /overlay/new', body: 'y', status: 204, fields: { etag: /^"/ } },
    ],
  },
  {
    rule: '9.8: COPY: 201 and 204, Depth 0 and infinity, properties go along, parents are not made',
    steps: [
      { ask: 'PROPPATCH /overlay/d', body: patch(set('<x:p>kept</x:p>')), status: 207 },
      { ask: 'COPY /overlay/d', headers: dest('c0', { depth: '0' }), status: 201 },
      { ...find('/overlay/c0', '1'), has: /<x:p [^>]*>kept</, lacks: /c0\/a</ },
      { ask: 'COPY /overlay/d', headers: dest('c0'), status: 204 },
      { ask: 'GET /overlay/c0/sub/b', status: 200, has: /^deep$/ },
      { ask: 'COPY /overlay/d', headers: dest('x', { depth: '1' }), status: 400 },
      { ask: 'COPY /overlay/f', headers: dest('no/x'), status: 409 },
      { ask: 'COPY /overlay/none', headers: dest('x'), status: 404 },
      { ask: 'COPY /overlay/f', headers: dest('f'), status: 403 },
      { ask: 'COPY /overlay/d', headers: dest('d/sub/x'), status: 403 },
      { ask: 'COPY /overlay/d/sub', headers: dest('d'), status: 403 },
    ],
  },
  {
    rule: '9.8.4: COPY of a collection over another leaves nothing of that one',
    tree: { 'from/a': 'A', 'to/a': 'old', 'to/b': 'old', file: 'F' },
    steps: [
      { ask: 'COPY /overlay/from', headers: dest('to'), status: 204 },
      { ask: 'GET /overlay/to/a', status: 200, has: /^A$/ },
      { ask: 'GET /overlay/to/b', status: 404 },
      { ask: 'COPY /overlay/file', headers: dest('to'), status: 204 },
      { ask: 'GET /overlay/to', status: 200, has: /^F$/ },
      { ask: 'COPY /overlay/from', headers: dest('to/'), status: 204 },
      { ask: 'GET /overlay/to/a', status: 200 },
    ],
  },
  {
    rule: '9.9: MOVE: as COPY, with all properties, and the source is gone; a collection only as a whole',
    steps: [
      { ask: 'PROPPATCH /overlay/d/a', body: patch(set('<x:p>kept</x:p>')), status: 207 },
      { ask: 'MOVE /overlay/d', headers: dest('m', { depth: '0' }), status: 400 },
      { ask: 'MOVE /overlay/d', headers: dest('m'), status: 201 },
      { ...find('/overlay/m/a', '0'), has: /<x:p [^>]*>kept</ },
      { ask: 'GET /overlay/d/a', status: 404 },
      { ask: 'MOVE /overlay/f', headers: dest('m'), status: 204 },
      { ask: 'GET /overlay/m', status: 200, has: /^content$/ },
      { ask: 'MOVE /overlay/m', headers: dest('no/m'), status: 409 },
      { ask: 'MOVE /overlay/m', headers: dest('m'), status: 403 },
      { ask: 'MOVE /overlay/', headers: dest('m'), status: 403 },
    ],
  },
  {
    rule: '10.3: Destination: absolute or a path, on this host (502), in a view (403), well-formed (400)',
    steps: [
      { ask: 'COPY /overlay/f', headers: { destination: 'http://127.0.0.1:{PORT}/overlay/x' }, status: 201 },
      { ask: 'COPY /overlay/f', headers: { destination: 'HTTPS://user@127.0.0.1:{PORT}/overlay/x' }, status: 204 },
      { ask: 'COPY /overlay/f', headers: { destination: 'http://elsewhere.example/overlay/x' }, status: 502 },
      { ask: 'COPY /overlay/f', headers: { destination: 'http://127.0.0.1:1/overlay/x' }, status: 502 },
      { ask: 'COPY /overlay/f', headers: { destination: '//127.0.0.1/overlay/x' }, status: 403 },
      { ask: 'COPY /overlay/f', headers: { destination: 'overlay/x' }, status: 400 },
      { ask: 'COPY /overlay/f', headers: { destination: 'ftp://127.0.0.1/overlay/x' }, status: 400 },
      { ask: 'COPY /overlay/f', headers: { destination: '/overlay/x#y' }, status: 400 },
      { ask: 'COPY /overlay/f', headers: { destination: '/nowhere/x' }, status: 403 },
      { ask: 'COPY /overlay/f', headers: { destination: '/' }, status: 403 },
      { ask: 'COPY /overlay/f', headers: { destination: '/overlay/' }, status: 403 },
      { ask: 'COPY /overlay/f', status: 400 },
      { ask: 'MOVE /overlay/f', status: 400 },
    ],
  },
  {
    rule: '10.6: Overwrite: T unless F, else 400; F on what exists is 412',
    steps: [
      { ask: 'COPY /overlay/f', headers: dest('g', { overwrite: 'F' }), status: 412 },
      { ask: 'MOVE /overlay/f', headers: dest('g', { overwrite: 'F' }), status: 412 },
      { ask: 'MOVE /overlay/f', headers: dest('e', { overwrite: 'F' }), status: 412 },
      { ask: 'COPY /overlay/f', headers: dest('g', { overwrite: 'x' }), status: 400 },
      { ask: 'COPY /overlay/f', headers: dest('new', { overwrite: 'F' }), status: 201 },
      { ask: 'COPY /overlay/f', headers: dest('g', { overwrite: 'T' }), status: 204 },
      { ask: 'MOVE /overlay/f', headers: dest('g'), status: 204 },
    ],
  },
  {
    rule: '10.4: If holds entity tags of files, strongly compared, and none of collections',
    steps: [
      { ask: 'GET /overlay/f', status: 200, etag: 'F' },
      { ask: 'PUT /overlay/f', headers: { if: '(["none"])' }, body: 'x', status: 412 },
      { ask: 'PUT /overlay/f', headers: { if: '(["none"] ) ([{F}])' }, body: 'content', status: 204, etag: 'F' },
      { ask: 'PUT /overlay/f', headers: { if: '([W/{F}])' }, body: 'x', status: 412 },
      { ask: 'DELETE /overlay/g', headers: { if: '</overlay/f> (Not [{F}])' }, status: 412 },
      { ask: 'MKCOL /overlay/new', headers: { if: '</overlay/f> ([{F}])' }, status: 201 },
      { ask: 'GET /overlay/f', headers: { if: '(["none"])' }, status: 412 },
      { ask: 'PROPFIND /overlay/f', headers: { depth: '0', if: '(["none"])' }, status: 412 },
      { ask: 'PROPFIND /overlay/d', headers: { depth: '0', if: '(["none"])' }, status: 412 },
    ],
  },
  {
    rule: '18: OPTIONS says 1, 2, 3 where locks can be taken, and names what each kind of resource takes',
    steps: [
      {
        ask: 'OPTIONS /overlay/d',
        status: 200,
        fields: { dav: /^1, 2, 3\b/, allow: /^(?!.*(PUT|MKCOL)).*LOCK/, 'ms-author-via': /^DAV$/ },
      },
      { ask: 'OPTIONS /overlay/f', status: 200, fields: { allow: /PUT/ } },
      { ask: 'OPTIONS /overlay/none', status: 200, fields: { allow: /MKCOL/ } },
      { ask: 'OPTIONS /', status: 200, fields: { dav: /^1, 2, 3\b/ } },
    ],
  },
  {
    rule: '5.2: a collection without its slash is the same collection, and nothing is redirected',
    steps: [
      ...['GET', 'HEAD', 'OPTIONS'].map((method) => ({ ask: `${method} /overlay/d`, status: 200 })),
      find('/overlay/d', '1'),
      { ask: 'PROPPATCH /overlay/d', body: patch(set('<x:p/>')), status: 207 },
      takeLock('/overlay/d', 'X'),
      { ask: 'UNLOCK /overlay/d', headers: { 'lock-token': '<{X}>' }, status: 204 },
      { ask: 'COPY /overlay/d', headers: dest('c'), status: 201 },
      { ask: 'MOVE /overlay/c', headers: dest('m'), status: 201 },
      { ask: 'DELETE /overlay/m', status: 204 },
      { ask: 'MKCOL /overlay/m', status: 201 },
    ],
  },
  {
    rule: 'a view without upper takes nothing, says so, and has no locks',
    settings: { readOnly: true },
    steps: [
      {
        ask: 'OPTIONS /overlay/f',
        status: 200,
        fields: { dav: /^1, 3\b/, allow: /^(?!.*(PUT|LOCK|DELETE)).*PROPFIND/ },
      },
      ...['PUT', 'DELETE', 'LOCK'].map((method) => ({
        ask: `${method} /overlay/f`,
        body: method === 'LOCK' ? '<a/>' : 'x',
        status: method === 'LOCK' ? 400 : 403,
      })),
      { ask: 'MKCOL /overlay/new', status: 403 },
      { ask: 'PROPPATCH /overlay/f', body: patch(set('<x:p/>')), status: 403 },
      { ask: 'COPY /overlay/f', headers: dest('new'), status: 403 },
      { ask: 'MOVE /overlay/f', headers: dest('new'), status: 403 },
    ],
  },
]

testRules(t, RULES)
