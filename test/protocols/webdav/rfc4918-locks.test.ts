import t from 'tap'
import { lockInfo } from './dav-fixture.ts'
import { type Rule, takeLock, testRules } from './rule.ts'

const PATCH =
  '<D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x"><D:set><D:prop><x:p>1</x:p></D:prop></D:set></D:propertyupdate>'
const SUBMITTED = /<D:error xmlns:D="DAV:"><D:lock-token-submitted><D:href>\/overlay\/\w*<\/D:href>/
const dest = (path: string, more: Record<string, string> = {}) => ({ destination: `/overlay/${path}`, ...more })

const RULES: readonly Rule[] = [
  {
    rule: '6.1: a resource has one exclusive lock, or any number of shared ones',
    steps: [
      takeLock('/overlay/f', 'X'),
      { ask: 'LOCK /overlay/f', body: lockInfo('shared'), status: 423, has: /no-conflicting-lock/ },
      { ask: 'UNLOCK /overlay/f', headers: { 'lock-token': '<{X}>' }, status: 204 },
      takeLock('/overlay/f', 'A', { scope: 'shared' }),
      takeLock('/overlay/f', 'B', { scope: 'shared' }),
      { ask: 'LOCK /overlay/f', body: lockInfo(), status: 423, has: /no-conflicting-lock><D:href>\/overlay\/f</ },
    ],
  },
  {
    rule: '6.6, 10.7: a client may choose the timeout, the server holds it within its maximum',
    steps: [
      { ask: 'LOCK /overlay/f', headers: { timeout: 'Second-77' }, body: lockInfo(), status: 200, has: /Second-77</ },
      {
        ask: 'LOCK /overlay/g',
        headers: { timeout: 'Infinite, Second-5' },
        body: lockInfo(),
        status: 200,
        has: /Second-3600</,
      },
    ],
  },
  {
    rule: '6.8, 15.8: lockdiscovery tells everyone of all locks, with type, scope, depth, owner, time, token and root',
    steps: [
      takeLock('/overlay/d', 'X'),
      {
        ask: 'PROPFIND /overlay/d/sub/b',
        headers: { depth: '0' },
        status: 207,
        has: /<D:activelock><D:lockscope><D:exclusive\/><\/D:lockscope><D:locktype><D:write\/><\/D:locktype><D:depth>infinity<\/D:depth><D:owner><D:href[^>]*>http:\/\/example.org\/~me<\/D:href><\/D:owner><D:timeout>Second-\d+<\/D:timeout><D:locktoken><D:href>opaquelocktoken:[^<]*<\/D:href><\/D:locktoken><D:lockroot><D:href>\/overlay\/d<\/D:href>/,
      },
      { ask: 'PROPFIND /overlay/f', headers: { depth: '0' }, status: 207, has: /<D:lockdiscovery\/>/ },
    ],
  },
  {
    rule: '7: without the token nothing of a locked resource changes, and the answer names the lock',
    steps: [
      takeLock('/overlay/f', 'X'),
      { ask: 'PUT /overlay/f', body: 'x', status: 423, has: SUBMITTED },
      { ask: 'PROPPATCH /overlay/f', body: PATCH, status: 423, has: SUBMITTED },
      { ask: 'DELETE /overlay/f', status: 423, has: SUBMITTED },
      { ask: 'MOVE /overlay/f', headers: dest('h'), status: 423, has: SUBMITTED },
      { ask: 'MOVE /overlay/g', headers: dest('f'), status: 423, has: SUBMITTED },
      { ask: 'COPY /overlay/g', headers: dest('f'), status: 423, has: SUBMITTED },
      { ask: 'GET /overlay/f', status: 200 },
      { ask: 'COPY /overlay/f', headers: dest('h'), status: 201 },
    ],
  },
  {
    rule: '7.1: a token works in any list of If, tagged or not, and only while the list holds',
    steps: [
      takeLock('/overlay/f', 'X'),
      { ask: 'PUT /overlay/f', headers: { if: '(<{X}>)' }, body: '1', status: 204, etag: 'E' },
      { ask: 'PUT /overlay/f', headers: { if: '</overlay/f> (<{X}> [{E}])' }, body: '22', status: 204 },
      { ask: 'PUT /overlay/f', headers: { if: '(<{X}> [{E}])' }, body: '3', status: 412 },
      { ask: 'PUT /overlay/f', headers: { if: '(Not <{X}>)' }, body: '3', status: 412 },
      { ask: 'PUT /overlay/f', headers: { if: '(Not <{X}>) (<{X}>)' }, body: '3', status: 204 },
      { ask: 'PUT /overlay/f', headers: { if: '(<DAV:no-lock>) (Not <DAV:no-lock>)' }, body: '3', status: 423 },
    ],
  },
  {
    rule: '7.3: LOCK on an unmapped URL makes an empty file; unlocked, it is a file like any other',
    steps: [
      { ...takeLock('/overlay/d/new', 'X', {}, 201), fields: { 'lock-token': /^<opaquelocktoken:.+>$/ } },
      { ask: 'GET /overlay/d/new', status: 200, fields: { 'content-length': /^0$/ } },
      { ask: 'PROPFIND /overlay/d', headers: { depth: '1' }, status: 207, has: /\/overlay\/d\/new</ },
      { ask: 'UNLOCK /overlay/d/new', headers: { 'lock-token': '<{X}>' }, status: 204 },
      { ask: 'GET /overlay/d/new', status: 200 },
      { ask: 'LOCK /overlay/none/new', body: lockInfo(), status: 409 },
    ],
  },
  {
    rule: '7.4: a lock on a collection with depth 0 guards the list of members, not what is in them',
    steps: [
      takeLock('/overlay/d', 'X', { depth: '0' }),
      { ask: 'PUT /overlay/d/new', body: 'x', status: 423 },
      { ask: 'MKCOL /overlay/d/col', status: 423 },
      { ask: 'DELETE /overlay/d/a', status: 423 },
      { ask: 'MOVE /overlay/f', headers: dest('d/f'), status: 423 },
      { ask: 'MOVE /overlay/d/a', headers: dest('h'), status: 423 },
      { ask: 'COPY /overlay/f', headers: dest('d/f'), status: 423 },
      { ask: 'LOCK /overlay/d/new', body: lockInfo(), status: 423 },
      { ask: 'PUT /overlay/d/a', body: 'x', status: 204 },
      { ask: 'PROPPATCH /overlay/d/a', body: PATCH, status: 207 },
      { ask: 'PROPPATCH /overlay/d', body: PATCH, status: 423 },
      { ask: 'PUT /overlay/d/sub/new', body: 'x', status: 201 },
      { ask: 'MOVE /overlay/f', headers: dest('d/f', { if: '</overlay/d> (<{X}>)' }), status: 201 },
    ],
  },
  {
    rule: '7.4, 7.5: a lock with depth infinity takes in what comes, and lets go of what leaves',
    steps: [
      takeLock('/overlay/d', 'X'),
      { ask: 'MOVE /overlay/f', headers: dest('d/f', { if: '</overlay/d> (<{X}>)' }), status: 201 },
      { ask: 'PUT /overlay/d/f', body: 'x', status: 423 },
      { ask: 'MOVE /overlay/d/f', headers: dest('h', { if: '</overlay/d> (<{X}>)' }), status: 201 },
      { ask: 'PUT /overlay/h', body: 'x', status: 204 },
      { ask: 'PUT /overlay/d/new', headers: { if: '</overlay/d> (<{X}>)' }, body: 'x', status: 201 },
      { ask: 'PUT /overlay/d/new', body: 'x', status: 423 },
    ],
  },
  {
    rule: '7.5: a lock with depth infinity is not given over locks below, which the answer names; 424 is for the collection',
    steps: [
      takeLock('/overlay/d/sub/b', 'X'),
      {
        ask: 'LOCK /overlay/d',
        body: lockInfo(),
        status: 207,
        has: /\/overlay\/d\/sub\/b<.*423 Locked.*<D:href>\/overlay\/d\/<.*424 Failed Dependency/,
      },
      takeLock('/overlay/d', 'Y', { depth: '0' }),
    ],
  },
  {
    rule: '7.5: members may be locked by others with shared locks under a shared one',
    steps: [
      takeLock('/overlay/d', 'A', { scope: 'shared' }),
      takeLock('/overlay/d/a', 'B', { scope: 'shared' }),
      { ask: 'LOCK /overlay/d/sub/b', body: lockInfo(), status: 423 },
      { ask: 'PUT /overlay/d/a', headers: { if: '(<{B}>)' }, body: 'x', status: 204 },
      { ask: 'PUT /overlay/d/a', headers: { if: '</overlay/d> (<{A}>)' }, body: 'x', status: 204 },
    ],
  },
  {
    rule: '7.6: COPY and MOVE take no lock along; MOVE ends the one at the source',
    steps: [
      takeLock('/overlay/f', 'X'),
      { ask: 'COPY /overlay/f', headers: dest('copy'), status: 201 },
      { ask: 'PUT /overlay/copy', body: 'x', status: 204 },
      { ask: 'MOVE /overlay/f', headers: dest('moved', { if: '(<{X}>)' }), status: 201 },
      { ask: 'PUT /overlay/moved', body: 'x', status: 204 },
      { ask: 'PUT /overlay/f', body: 'x', status: 201 },
      { ask: 'UNLOCK /overlay/f', headers: { 'lock-token': '<{X}>' }, status: 409 },
    ],
  },
  {
    rule: '9.6.1: DELETE of a collection with a locked member deletes nothing and names the member',
    steps: [
      takeLock('/overlay/d/sub/b', 'X'),
      { ask: 'DELETE /overlay/d', status: 207, has: /<D:href>\/overlay\/d\/sub\/b<.*423 Locked.*lock-token-submitted/ },
      { ask: 'GET /overlay/d/a', status: 200 },
      { ask: 'MOVE /overlay/d', headers: dest('h'), status: 207, has: /\/overlay\/d\/sub\/b<.*423/ },
      { ask: 'DELETE /overlay/d', headers: { if: '</overlay/d/sub/b> (<{X}>)' }, status: 204 },
      { ask: 'MKCOL /overlay/d', status: 201 },
    ],
  },
  {
    rule: '9.6, 6.1: DELETE ends the lock of what it removes',
    steps: [
      takeLock('/overlay/f', 'X'),
      { ask: 'DELETE /overlay/f', headers: { if: '(<{X}>)' }, status: 204 },
      { ask: 'PUT /overlay/f', body: 'x', status: 201 },
    ],
  },
  {
    rule: '9.10.2: LOCK without a body refreshes the lock that If names, and only that',
    steps: [
      takeLock('/overlay/d', 'X'),
      {
        ask: 'LOCK /overlay/d/a',
        headers: { if: '(<{X}>)', timeout: 'Second-50' },
        status: 200,
        has: /Second-50</,
        fields: { 'lock-token': undefined },
      },
      { ask: 'LOCK /overlay/f', headers: { if: '(<{X}>)' }, status: 412 },
      { ask: 'LOCK /overlay/d', headers: { if: '(<opaquelocktoken:none>)' }, status: 412 },
      { ask: 'LOCK /overlay/d', status: 400 },
    ],
  },
  {
    rule: '9.10.3: LOCK takes Depth 0 and infinity, infinity when absent',
    steps: [
      { ask: 'LOCK /overlay/d', headers: { depth: '1' }, body: lockInfo(), status: 400 },
      { ask: 'LOCK /overlay/d', body: lockInfo(), status: 200, has: /<D:depth>infinity</ },
      { ask: 'LOCK /overlay/e', headers: { depth: '0' }, body: lockInfo(), status: 200, has: /<D:depth>0</ },
    ],
  },
  {
    rule: '9.11: UNLOCK wants the token of a lock that covers the resource',
    steps: [
      takeLock('/overlay/d', 'X'),
      { ask: 'UNLOCK /overlay/d', status: 400 },
      { ask: 'UNLOCK /overlay/d', headers: { 'lock-token': '(<{X}>)' }, status: 400 },
      {
        ask: 'UNLOCK /overlay/f',
        headers: { 'lock-token': '<{X}>' },
        status: 409,
        has: /lock-token-matches-request-uri/,
      },
      { ask: 'UNLOCK /overlay/d/a', headers: { 'lock-token': '<{X}>' }, status: 204 },
      { ask: 'PUT /overlay/d/a', body: 'x', status: 204 },
    ],
  },
  {
    rule: '10.4.3: a token of a list is held against the resource of its tag, on this server only',
    steps: [
      takeLock('/overlay/f', 'X'),
      { ask: 'PUT /overlay/g', headers: { if: '</overlay/f> (<{X}>)' }, body: 'x', status: 204 },
      { ask: 'PUT /overlay/g', headers: { if: '</overlay/g> (<{X}>)' }, body: 'x', status: 412 },
      { ask: 'PUT /overlay/f', headers: { if: '<http://127.0.0.1:{PORT}/overlay/f> (<{X}>)' }, body: 'x', status: 204 },
      {
        ask: 'PUT /overlay/f',
        headers: { if: '<http://elsewhere.example/overlay/f> (<{X}>)' },
        body: 'x',
        status: 412,
      },
      { ask: 'PUT /overlay/g', headers: { if: '</overlay/none> (Not <{X}>)' }, body: 'x', status: 204 },
      {
        ask: 'PUT /overlay/g',
        headers: { if: '</overlay/none> (<{X}>) </overlay/f> (<{X}>)' },
        body: 'x',
        status: 204,
      },
    ],
  },
  {
    rule: '10.4.2: a malformed If is 400: no list, an empty one, tagged and untagged mixed, a broken tag',
    steps: [
      '',
      '()',
      '(<a:b>',
      '<urn:x>',
      '(<a:b>) </overlay/f> (<a:b>)',
      '([no-quotes])',
      '(Not)',
      '(<a b>)',
      '(<>)',
    ].map((value) => ({ ask: 'PUT /overlay/f', headers: { if: value || ' ' }, body: 'x', status: 400 })),
  },
  {
    rule: '6.4: the owner is kept as the client wrote it: markup, language, any text',
    steps: [
      {
        ask: 'LOCK /overlay/f',
        body: '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>me &amp; <y:b xmlns:y="urn:y" k="&lt;">you</y:b></D:owner></D:lockinfo>',
        status: 200,
        has: /<D:owner>me &amp; <y:b xmlns:y="urn:y" k="&lt;">you<\/y:b><\/D:owner>/,
      },
    ],
  },
  {
    rule: 'bounds: locks of one user, shared locks on one resource, the length of the owner',
    settings: { limits: { locksPerUser: 3, locksPerResource: 2, ownerBytes: 100 } },
    steps: [
      takeLock('/overlay/f', 'A', { scope: 'shared' }),
      takeLock('/overlay/f', 'B', { scope: 'shared' }),
      { ask: 'LOCK /overlay/f', body: lockInfo('shared'), status: 503 },
      takeLock('/overlay/g', 'C'),
      { ask: 'LOCK /overlay/new', body: lockInfo(), status: 503 },
      { ask: 'GET /overlay/new', status: 404 },
      { ask: 'UNLOCK /overlay/f', headers: { 'lock-token': '<{A}>' }, status: 204 },
      { ask: 'LOCK /overlay/e', body: lockInfo().replace('~me', `~${'m'.repeat(100)}`), status: 413 },
      takeLock('/overlay/e', 'D'),
    ],
  },
  {
    rule: 'bounds: the memory of the locks of one user, which depends on their owners and paths',
    settings: { limits: { lockBytesPerUser: 5000 } },
    steps: [
      { ask: 'LOCK /overlay/f', body: lockInfo().replace('~me', `~${'m'.repeat(3000)}`), status: 200, token: 'A' },
      { ask: 'LOCK /overlay/g', body: lockInfo(), status: 503 },
      { ask: 'UNLOCK /overlay/f', headers: { 'lock-token': '<{A}>' }, status: 204 },
      takeLock('/overlay/e', 'C'),
      takeLock('/overlay/g', 'D'),
    ],
  },
]

testRules(t, RULES)
