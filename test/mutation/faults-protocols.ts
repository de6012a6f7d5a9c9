import { area, type PlantedFault } from './planted-fault.ts'

const NFS = 'protocols/nfs'
const DAV = 'protocols/webdav'
const TESTS = 'test/protocols'

const byteRange = area('NFS locks', `${NFS}/locks/byte-range.ts`, [`${TESTS}/nfs/locks/lock-table.test.ts`])
const fileLocks = area('NFS locks', `${NFS}/locks/file-locks.ts`, [`${TESTS}/nfs/locks/lock-table.test.ts`])
const lockTable = area('NFS locks', `${NFS}/locks/lock-table.ts`, [`${TESTS}/nfs/locks/lock-table.test.ts`])
const shareTable = area('NFS locks', `${NFS}/locks/share-table.ts`, [`${TESTS}/nfs/nlm/nlm.test.ts`])
const decoder = area('XDR', `${NFS}/xdr/decoder.ts`, [`${TESTS}/nfs/xdr/decoder.test.ts`])
const records = area('RPC', `${NFS}/rpc/record-reader.ts`, [`${TESTS}/nfs/rpc/record-reader.test.ts`])
const credential = area('RPC', `${NFS}/rpc/credential.ts`, [`${TESTS}/nfs/rpc/credential.test.ts`])
const duplicates = area('RPC', `${NFS}/rpc/duplicate-cache.ts`, [
  `${TESTS}/nfs/rpc/duplicate-cache.test.ts`,
  `${TESTS}/nfs/rpc/server.test.ts`,
])
const rules = area('exports', `${NFS}/exports/export-rules.ts`, [`${TESTS}/nfs/exports/export-rules.test.ts`])
const table = area('exports', `${NFS}/exports/export-table.ts`, [`${TESTS}/nfs/exports/export-table.test.ts`])
const handles = area('exports', `${NFS}/exports/file-handle.ts`, [`${TESTS}/nfs/exports/file-handle.test.ts`])
const groups = area('RPC', `${NFS}/rpc/group-cache.ts`, [`${TESTS}/nfs/rpc/group-cache.test.ts`])
const peers = area('NFS locks', `${NFS}/nsm/peer-list.ts`, [`${TESTS}/nfs/nsm/peer-list.test.ts`])
const lockStore = area('WebDAV locks', `${DAV}/locks/lock-store.ts`, [`${TESTS}/webdav/locks/lock-store.test.ts`])
const durable = area('WebDAV locks', `${DAV}/locks/durable-locks.ts`, [`${TESTS}/webdav/locks/durable-locks.test.ts`])
const lockCheck = area('WebDAV locks', `${DAV}/request/lock-check.ts`, [
  `${TESTS}/webdav/methods/lock.test.ts`,
  `${TESTS}/webdav/rfc4918-locks.test.ts`,
])
const ifHeader = area('WebDAV fields', `${DAV}/http/if-header.ts`, [`${TESTS}/webdav/http/if-header.test.ts`])
const range = area('WebDAV fields', `${DAV}/http/range.ts`, [`${TESTS}/webdav/http/range.test.ts`])
const path = area('WebDAV fields', `${DAV}/http/path.ts`, [`${TESTS}/webdav/http/path.test.ts`])

const messages = area('WebDAV messages', `${DAV}/http/dav-message.ts`, [`${TESTS}/webdav/http/dav-message.test.ts`])
const direct = area('HTTP requests', 'server/direct-requests.ts', ['test/server/direct-requests.test.ts'])

/** Faults in the protocols. */
export const PROTOCOL_FAULTS: readonly PlantedFault[] = [
  byteRange(
    'ranges that touch in one byte do not overlap',
    'a.start <= b.end && b.start <= a.end',
    'a.start < b.end && b.start < a.end',
  ),
  byteRange(
    'a length of 0 is one byte',
    'if (length === 0n) return { start: offset, end: LAST_BYTE }',
    'if (length === 0n) return { start: offset, end: offset }',
  ),
  fileLocks('shared locks keep nobody out', 'if (!wanted.exclusive) return\n', 'return\n'),
  fileLocks(
    'an owner stands in its own way',
    'for (const lock of this.#exclusive.overlapping(wanted)) if (lock.owner.key !== key) yield lock',
    'for (const lock of this.#exclusive.overlapping(wanted)) yield lock',
  ),
  fileLocks('a gap in what is held is passed over', 'if (lock.start > next) return false', ''),
  lockTable(
    'locks that stand in the way do not',
    "if (conflict !== undefined) return { kind: 'denied', conflict }",
    '',
  ),
  lockTable(
    'nobody who waits is granted after an unlock',
    'if (this.#change(file, locks, owner.client, () => locks.clear(owner, range))) this.#grantWaiting(file, range)',
    'this.#change(file, locks, owner.client, () => locks.clear(owner, range))',
  ),
  lockTable('a circle of waiting is not seen', "if (circle !== 'none') return circle", ''),
  shareTable(
    'denied access is granted',
    "if (others.some((share) => share.access & wanted.deny || wanted.access & share.deny)) return 'denied'",
    '',
  ),
  peers('a peer that was told is told again', 'this.#peers.delete(key)', ''),
  decoder('messages may be cut short', "if (next > this.end) throw new XdrError('message is truncated')", ''),
  decoder('opaque data of any length', 'if (length > max) throw', 'if (length > max * 1000) throw'),
  decoder('any number is a boolean', 'if (value > 1) throw', 'if (value > 9) throw'),
  records('records of any length', 'if (this.#assembled + length > this.#limits.maxRecordBytes)', 'if (false)'),
  records(
    'any number of fragments',
    "if (this.#fragments > this.#limits.maxFragments) throw new RecordError('too many fragments')",
    '',
  ),
  credential('more groups than AUTH_SYS has', 'if (count > MAX_GROUPS) throw', 'if (count > 10 * MAX_GROUPS) throw'),
  duplicates(
    'a call with other arguments gets the answer',
    'if (entry === undefined || entry.checksum !== checksum) return undefined',
    'if (entry === undefined) return undefined',
  ),
  groups(
    'groups are never asked for again',
    'if (user.untilMs > nowMs) return give(user, credential)',
    'if (user.untilMs > 0) return give(user, credential)',
  ),
  rules('no_root_squash squashes', "rule.squash = 'none'", "rule.squash = 'root'"),
  rules(
    'a wrong option is passed over',
    'if (flag === undefined) throw',
    'if (flag === undefined) return\n  if (flag === undefined) throw',
  ),
  table(
    'secure takes any port',
    "return rule?.secure && peer.port >= PRIVILEGED_PORTS && peer.security !== 'mtls' ? undefined : rule",
    'return rule',
  ),
  table('all_squash squashes root alone', "if (rule.squash === 'all' || rule", 'if (rule'),
  handles('a forged handle is taken', 'return difference === 0', 'return true'),
  lockStore(
    'a deep lock covers only its collection',
    'if ((own || lock.deep) && lock.expiresMs > nowMs) found.push(lock)',
    'if (own && lock.expiresMs > nowMs) found.push(lock)',
  ),
  lockStore(
    'a lock of depth 0 covers all below',
    'if ((own || lock.deep) && lock.expiresMs > nowMs) found.push(lock)',
    'if (lock.expiresMs > nowMs) found.push(lock)',
  ),
  durable(
    'locks last as long again after a restart',
    'expiresMs: now + this.#remainingMs(expiry, lock.kind.timeout)',
    'expiresMs: now + lock.kind.timeout * 1000',
  ),
  lockCheck(
    'any lock is open to everybody',
    'return locks.some((lock) => tokens.has(lock.token)) ? undefined : locks[0]',
    'return undefined',
  ),
  lockCheck(
    'the lock of a collection does not cover its members',
    'if (names.length > 0) requireName',
    'if (names.length > 99) requireName',
  ),
  lockCheck(
    'a token opens nothing',
    'return locks.some((lock) => tokens.has(lock.token)) ? undefined : locks[0]',
    'return locks[0]',
  ),
  ifHeader(
    'an empty list holds',
    "if (conditions.length === 0) throw badRequest('the If field contains an empty list')",
    '',
  ),
  ifHeader(
    'any number of conditions',
    "if (this.#conditions > MAX_CONDITIONS) throw badRequest('the If field has too many conditions')",
    '',
  ),
  range('a suffix begins one byte late', 'first: size - suffix', 'first: size - suffix + 1'),
  range('a range may end beyond the file', 'last: Math.min(last, size - 1)', 'last'),
  range('any number of ranges', 'if (asked > maxRanges) return undefined', ''),
  path(
    'dot segments are names',
    "if (name === '.' || name === '..') throw badRequest('the path contains a dot segment')",
    '',
  ),
  path(
    'an encoded slash is a slash',
    "if (byte === 0 || byte === 0x2f) throw badRequest('the path contains an encoded slash or NUL')",
    '',
  ),
  messages('what came first is lost', 'if (this.#received || this.destroyed) return false', ''),
  messages('nobody hears that a body ends early', 'taker?.gone()', ''),
  messages('a field may contain line breaks', 'if (!FIELD_VALUE.test(value))', 'if (false)'),
  messages(
    'a connection that is to end stays open',
    '!socket.destroyed && this.shouldKeepAlive &&',
    '!socket.destroyed &&',
  ),
  messages('a response to HEAD has a body', "this.req.method === 'HEAD' ? head : head + body", 'head + body'),
  messages('nobody hears that a response was sent', "this.emit('finish')", ''),
  direct('pages of other origins get in', '&& admission.isWelcome(req)', ''),
  direct(
    'requests that are sent ahead do not wait',
    'inTurn(req, res, () => letIn(req, res, () => handler.execute(req, res)))',
    'letIn(req, res, () => handler.execute(req, res))',
  ),
]
