/** One request of a scenario, as davload sends it. */
export interface Step {
  readonly method: string
  /** May hold the placeholders of davload: `{c}`, `{n}`, `{d}`, `{f}`. `{run}` is the folder made for this run. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Text, or so many bytes of a pattern. */
  readonly body?: string | number
  /** The statuses that count as success. */
  readonly status: readonly [low: number, high: number]
}

/** What is measured in one go on one server. */
export interface Scenario {
  readonly name: string
  readonly title: string
  readonly connections: number
  readonly steps: readonly Step[]
  /** What the figure counts: requests, or bytes of file data in either direction. */
  readonly unit: 'req/s' | 'MB/s'
  /** How many times faster than the peer overlayd has to be. */
  readonly bars?: Readonly<Record<string, number>>
}

/** Bytes of the small files. */
export const SMALL_BYTES = 4096
/** Entries of the large directory, `/list/`. */
export const LIST_ENTRIES = 1000
/** `/big`, MiB. */
export const BIG_MIB = 1024
const UPLOAD_BYTES = 256 * 1024 * 1024

const PROPFIND_BODY =
  '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getetag/>' +
  '<getlastmodified/><creationdate/><executable xmlns="http://apache.org/dav/props/"/></prop></propfind>'
const LOCK_BODY =
  '<?xml version="1.0" encoding="utf-8"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype>' +
  '<owner><href>davload</href></owner></lockinfo>'

function propfind(path: string, depth: 0 | 1): Step {
  const headers = { Depth: String(depth), 'Content-Type': 'text/xml' }
  return { method: 'PROPFIND', path, headers, body: PROPFIND_BODY, status: [207, 207] }
}

function get(path: string, headers: Record<string, string> = {}): Step {
  return { method: 'GET', path, headers, status: headers.Range === undefined ? [200, 200] : [206, 206] }
}

function put(path: string, body: number, headers: Record<string, string> = {}): Step {
  return { method: 'PUT', path, headers, body, status: [200, 204] }
}

/** What a davfs2 mount asks when a directory is listed, a file is read and another one is written under a lock. */
const DAVFS_MIX: readonly Step[] = [
  propfind('/files/d{d}/', 1),
  { method: 'HEAD', path: '/files/d{d}/f{f}', status: [200, 200] },
  get('/files/d{d}/f{f}'),
  get('/files/d{d}/f{f}'),
  put('{run}mix-{c}', 0),
  {
    ...{ method: 'LOCK', path: '{run}mix-{c}', body: LOCK_BODY, status: [200, 201] },
    headers: { Timeout: 'Second-300', Depth: '0', 'Content-Type': 'text/xml' },
  },
  put('{run}mix-{c}', SMALL_BYTES, { If: '({lock})' }),
  propfind('{run}mix-{c}', 0),
  { method: 'UNLOCK', path: '{run}mix-{c}', headers: { 'Lock-Token': '{lock}' }, status: [204, 204] },
  { method: 'DELETE', path: '{run}mix-{c}', status: [200, 204] },
]

/** Everything that is measured, in the order of the table. */
export const SCENARIOS: readonly Scenario[] = [
  {
    ...{ name: 'propfind-1000', title: 'PROPFIND depth 1, 1,000 entries', connections: 4, unit: 'req/s' },
    steps: [propfind('/list/', 1)],
    bars: { nginx: 1.2, apache: 2 },
  },
  {
    ...{ name: 'propfind-0', title: 'PROPFIND depth 0', connections: 16, unit: 'req/s' },
    steps: [propfind('/files/d{d}/f{f}', 0)],
  },
  {
    ...{ name: 'get-hot', title: 'GET 4 KiB, one file', connections: 16, unit: 'req/s' },
    steps: [get('/files/d00/f00')],
    bars: { apache: 1, rclone: 3 },
  },
  {
    ...{ name: 'get-all', title: 'GET 4 KiB, 10,000 files', connections: 16, unit: 'req/s' },
    steps: [get('/files/d{d}/f{f}')],
    bars: { apache: 1, rclone: 3 },
  },
  {
    ...{ name: 'head-hot', title: 'HEAD, one file', connections: 16, unit: 'req/s' },
    steps: [{ method: 'HEAD', path: '/files/d00/f00', status: [200, 200] }],
  },
  {
    ...{ name: 'head-all', title: 'HEAD, 10,000 files', connections: 16, unit: 'req/s' },
    steps: [{ method: 'HEAD', path: '/files/d{d}/f{f}', status: [200, 200] }],
  },
  {
    ...{ name: 'get-1gib', title: 'GET 1 GiB', connections: 1, unit: 'MB/s' },
    steps: [get('/big')],
    bars: { apache: 1.1 },
  },
  {
    ...{ name: 'get-range', title: 'GET 64 KiB out of 1 GiB', connections: 16, unit: 'req/s' },
    steps: [get('/big', { Range: 'bytes=500000000-500065535' })],
  },
  {
    ...{ name: 'put-overwrite', title: 'PUT 4 KiB, overwriting', connections: 16, unit: 'req/s' },
    steps: [put('{run}over-{c}', SMALL_BYTES)],
    bars: { apache: 1.2 },
  },
  {
    ...{ name: 'put-new', title: 'PUT 4 KiB, new files', connections: 16, unit: 'req/s' },
    steps: [put('{run}{c}-{n}', SMALL_BYTES)],
    bars: { apache: 1.2 },
  },
  {
    ...{ name: 'put-256mib', title: 'PUT 256 MiB', connections: 1, unit: 'MB/s' },
    steps: [put('{run}large-{c}', UPLOAD_BYTES)],
    bars: { apache: 1.1 },
  },
  {
    ...{ name: 'mkcol-delete', title: 'MKCOL + DELETE', connections: 16, unit: 'req/s' },
    steps: [
      { method: 'MKCOL', path: '{run}{c}-{n}/', status: [201, 201] },
      { method: 'DELETE', path: '{run}{c}-{n}/', status: [200, 204] },
    ],
  },
  {
    ...{ name: 'davfs-mix', title: 'as a davfs2 mount', connections: 8, unit: 'req/s' },
    steps: DAVFS_MIX,
  },
]

/** The steps in davload's form. `prefix` is the path under which the tree is served, `run` a folder below it, both with slashes. */
export function scriptOf(scenario: Scenario, prefix: string, run: string): Buffer {
  return Buffer.concat(scenario.steps.map((step) => stepOf(step, prefix, run)))
}

function stepOf({ method, path, headers = {}, body, status }: Step, prefix: string, run: string): Buffer {
  const target = path.startsWith('{run}') ? `${prefix}${run}${path.slice(5)}` : `${prefix}${path.slice(1)}`
  const text = typeof body === 'string' ? body : ''
  const length = typeof body === 'string' ? Buffer.byteLength(body) : (body ?? 0)
  const fields = { Host: '127.0.0.1', 'User-Agent': 'davload', ...headers }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  if (body !== undefined) lines.push(`Content-Length: ${length}\r\n`)
  const head = `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`
  return Buffer.from(`${status[0]} ${status[1]} ${length} ${head.length} ${text.length}\n${head}${text}`, 'latin1')
}
