import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { METRICS } from '../../../server/metrics/metrics.ts'
import { top } from '../../docs/manual-files.ts'
import { AS_ROOT, course } from '../course.ts'
import { runFileOf } from '../view-orders.ts'
import { type ReadMetrics, readMetrics } from './read-metrics.ts'

t.setTimeout(120_000)

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Asks the admin socket. The path of the socket may be longer than curl accepts. */
async function curl(socket: string, path: string, ...options: string[]): Promise<{ status: number; body: string }> {
  const words = ['-s', '-w', '\n%{http_code}', ...options, '--unix-socket', basename(socket), `http://localhost${path}`]
  const { stdout } = await promisify(execFile)('curl', words, { cwd: dirname(socket) })
  const at = stdout.lastIndexOf('\n')
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) }
}

/** The value with these labels; 0 if there is none. */
function valueAt({ lines }: ReadMetrics, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const found = lines.filter(
    (line) => line.name === name && Object.entries(labels).every(([label, value]) => line.labels[label] === value),
  )
  if (found.length > 1) throw new Error(`${name} ${JSON.stringify(labels)} is not one line`)
  return found[0]?.value ?? 0
}

t.test('metrics count what clients have asked for, over both doors', AS_ROOT, async (t) => {
  const { dir, server, nfs, dav } = await course(t, { more: 'create = true\nowner = "1:1"\nquota = "10K"' })
  const { socket } = (await runFileOf(server.child, join(dir, 'state'))).admin
  const scrape = async () => {
    const { status, body } = await curl(socket, '/metrics')
    t.equal(status, 200)
    return readMetrics(body)
  }
  const before = await scrape()
  t.equal(valueAt(before, 'overlayd_copy_ups_total', { result: 'done' }), 0)
  for (let i = 0; i < 3; i++) t.equal((await dav('GET', '/course/~daemon/welcome.txt')).status, 200)
  t.equal((await dav('PUT', '/course/~daemon/sub/a.txt', { body: 'changed' })).status, 204)
  t.equal((await dav('PUT', '/course/~daemon/large', { body: 'x'.repeat(20_000) })).status, 507)
  const daemon = nfs.as(1)
  const root = await daemon.mount('/course/daemon')
  for (let i = 0; i < 5; i++) t.equal((await daemon.getattr(root)).status, 0)
  const file = await daemon.create(root, 'new')
  t.equal(file.status, 0)
  const after = await scrape()
  const count = (door: string, operation: string) =>
    valueAt(after, 'overlayd_request_duration_seconds_count', { door, operation })
  t.equal(count('webdav', 'GET'), 3)
  t.equal(count('webdav', 'PUT'), 2)
  t.equal(count('nfs3', 'GETATTR'), 5)
  t.equal(count('nfs3', 'CREATE'), 1)
  t.equal(count('mount', 'MNT'), 1)
  t.equal(
    valueAt(after, 'overlayd_request_duration_seconds_bucket', { door: 'nfs3', operation: 'GETATTR', le: '+Inf' }),
    5,
  )
  t.ok(valueAt(after, 'overlayd_request_duration_seconds_sum', { door: 'nfs3', operation: 'GETATTR' }) > 0)
  t.equal(valueAt(after, 'overlayd_events_total', { door: 'webdav', event: 'status5xx' }), 1)
  t.equal(valueAt(after, 'overlayd_sent_bytes_total', { door: 'webdav' }), 3 * 'welcome'.length)
  t.ok(valueAt(after, 'overlayd_received_bytes_total', { door: 'nfs' }) > 5 * 40)
  t.equal(valueAt(after, 'overlayd_views', { template: 'course' }), 1)
  t.equal(valueAt(after, 'overlayd_open_views', { template: 'course' }), 1)
  t.equal(valueAt(after, 'overlayd_connections', { door: 'nfs' }), 1)
  t.ok(valueAt(after, 'overlayd_copy_ups_total', { result: 'done' }) >= 1)
  t.ok(valueAt(after, 'overlayd_quota_refusals_total') >= 1)
  t.ok(valueAt(after, 'overlayd_fsync_duration_seconds_count') >= 1)
  t.equal(valueAt(after, 'overlayd_cache_requests_total', { cache: 'contents', result: 'hit' }), 2)
  t.ok(valueAt(after, 'process_cpu_seconds_total') > valueAt(before, 'process_cpu_seconds_total'))
  t.ok(valueAt(after, 'overlayd_event_loop_lag_seconds', { of: 'max' }) >= 0)
  t.same([...after.types.keys()].sort(), METRICS.map(({ name }) => name).sort(), 'every metric is there')
  for (const { labels } of after.lines)
    for (const value of Object.values(labels)) t.notMatch(value, /daemon|welcome|\//, 'no user and no path')
  const buckets = after.lines.filter(
    ({ name, labels }) => name.endsWith('_bucket') && labels.door === 'nfs3' && labels.operation === 'GETATTR',
  )
  t.same(
    buckets.map(({ value }) => value),
    buckets.map(({ value }) => value).sort((a, b) => a - b),
    'buckets add up',
  )
  t.same(await curl(socket, '/healthz'), { status: 200, body: 'ok\n' })
  t.same(await curl(socket, '/readyz'), { status: 200, body: 'ready\n' })
  t.equal((await curl(socket, '/metrics', '-X', 'POST')).status, 405)
  t.equal((await curl(socket, '/metrics', '-H', 'Origin: https://evil.example')).status, 403)
})

t.test('Prometheus has a listener of its own, which serves nothing else', AS_ROOT, async (t) => {
  const port = await freePort()
  const { server } = await course(t, { tables: `[metrics]\nlisten = "127.0.0.1:${port}"\n` })
  const ask = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, init)
    return { status: answer.status, body: await answer.text() }
  }
  const metrics = await ask('/metrics?x=1')
  t.equal(metrics.status, 200)
  t.equal(valueAt(readMetrics(metrics.body), 'overlayd_connections', { door: 'nfs' }), 1)
  t.same(await ask('/readyz'), { status: 200, body: 'ready\n' })
  t.equal((await ask('/v1/status')).status, 404)
  t.equal((await ask('/')).status, 404)
  t.equal((await ask('/metrics', { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403)
  t.equal((await ask('/metrics', { method: 'POST', body: 'x' })).status, 405)
  t.equal(await server.stop(), 0)
  await t.rejects(ask('/healthz'))
})

t.test('the log names the trace of a WebDAV request', AS_ROOT, async (t) => {
  const { server, dav } = await course(t)
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
  const wrong = async (headers: Record<string, string>) =>
    t.equal((await dav('PROPFIND', '/course/~daemon/', { body: '<', headers })).status, 400)
  await wrong({ traceparent: `00-${trace}-00f067aa0ba902b7-01` })
  await wrong({ traceparent: 'nonsense' })
  await server.stop()
  const lines = server
    .stderr()
    .split('\n')
    .filter((line) => line.includes('malformed request'))
  t.same(lines.length, 2)
  const [first, second] = lines.map((line) => (JSON.parse(line) as { trace: string }).trace)
  t.equal(first, trace)
  t.match(second, /^[0-9a-f]{32}$/)
  t.not(second, trace)
})

t.test('the dashboard names only metrics that exist', async (t) => {
  const text = readFileSync(join(top, 'deploy/grafana/overlayd.json'), 'utf8')
  const { panels } = JSON.parse(text) as { panels: { title: string; targets: { expr: string }[] }[] }
  const known = new Map(METRICS.map((metric) => [metric.name, metric]))
  let named = 0
  for (const { title, targets } of panels)
    for (const { expr } of targets)
      for (const [name] of expr.matchAll(/\b(?:overlayd|process)_\w+/g)) {
        named++
        const metric = known.get(name) ?? known.get(name.replace(/_(bucket|sum|count)$/, ''))
        t.ok(metric, `${title}: ${name}`)
        for (const [, labels = ''] of expr.matchAll(/by \(([^)]*)\)/g))
          for (const label of labels.split(', '))
            t.ok(label === 'le' || metric?.labels.includes(label), `${title}: the label ${label} of ${name}`)
      }
  t.ok(named > 20)
})

t.test('the reader of the format refuses what Prometheus refuses', async (t) => {
  const head = '# HELP a_total A.\n# TYPE a_total counter\n'
  t.equal(readMetrics(`${head}a_total{b="c\\"d"} 1\n`).lines.length, 1)
  for (const wrong of ['a_total{b=c} 1\n', 'a_total 1', 'a_total x\n', 'b 1\n', 'a_total 1\na_total 2\n'])
    t.throws(() => readMetrics(head + wrong), wrong)
  t.throws(() => readMetrics('# TYPE a gauge\na 1\n'), /no HELP/)
  t.throws(() => readMetrics('# HELP a A.\n# TYPE a counter\na 1\n'), /_total/)
})
