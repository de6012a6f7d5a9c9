import { execFile } from 'node:child_process'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import Ajv from 'ajv/dist/2020.js'
import t from 'tap'
import { AdminClient } from '../../../server/admin/client/admin-client.ts'
import { apiDocument } from '../../../server/admin/http/api-document.ts'
import { VERBS } from '../../../server/admin/verbs/table.ts'
import { course } from '../course.ts'
import { freePorts, start } from '../launch.ts'
import { runFileOf } from '../view-orders.ts'

t.setTimeout(300_000)

/** Sends a request as an administrator does by hand. Returns the status and the body. */
async function curl(socket: string, path: string, ...options: string[]): Promise<{ status: number; body: string }> {
  // The path of the socket may be longer than curl accepts.
  const words = ['-s', '-w', '\n%{http_code}', '--unix-socket', basename(socket), ...options, `http://localhost${path}`]
  const { stdout } = await promisify(execFile)('curl', words, { cwd: dirname(socket) })
  const at = stdout.lastIndexOf('\n')
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) }
}

/** Schemas with a description alone allow anything; draft 2020-12 knows that, strict mode of Ajv does not like it. */
const ajv = () => new Ajv.default({ strict: false, validateFormats: false })

t.test('verbs are executed by curl at the socket, and their answers are as the document says', async (t) => {
  const { dir, server, dav } = await course(t, { more: 'create = true\nowner = "1:1"\nquota = "1M"' })
  const { admin } = await runFileOf(server.child, join(dir, 'state'))
  const { socket } = admin
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'changed' })
  const orders: [path: string, ...options: string[]][] = [
    ['/v1/status'],
    ['/v1/view/list'],
    ['/v1/view/list?template=course'],
    ['/v1/view/show?view=course/daemon'],
    ['/v1/view/create', '--json', '{"view":"course/bin"}'],
    ['/v1/view/rename', '--json', '{"view":"course/bin","to":"sys"}'],
    ['/v1/snapshot/take', '--json', '{"view":"course/daemon","name":"one"}'],
    ['/v1/snapshot/list?view=course/daemon'],
    ['/v1/view/fork', '--json', '{"view":"course/daemon","name":"games"}'],
    ['/v1/view/rollback', '--json', '{"view":"course/daemon@one"}'],
    ['/v1/view/reset', '--json', '{"view":"course/daemon","drop":true}'],
    ['/v1/snapshot/remove', '--json', '{"view":"course/daemon@one"}'],
    ['/v1/view/remove', '--json', '{"view":"course/sys"}'],
    ['/v1/reload', '-X', 'POST'],
    ['/v1/job/list'],
  ]
  for (const [path, ...options] of orders) {
    const { status, body } = await curl(socket, path, ...options)
    t.equal(status, 200, `${path} ${body.slice(0, 200)}`)
    const name = path.slice(4).split('?', 1)[0]!.replaceAll('/', ' ')
    const schema = VERBS.find((each) => each.name === name)!.result.schema
    const validate = ajv().compile(schema)
    t.ok(validate(JSON.parse(body)), `${path}: ${JSON.stringify(validate.errors)} ${body.slice(0, 300)}`)
  }
  const lines = (await curl(socket, '/v1/view/diff?view=course/games&paths=welcome.txt')).body.split('\n')
  t.match(JSON.parse(lines[0]!), { kind: 'changed', path: 'welcome.txt' })
  t.same(JSON.parse(lines[1]!), { done: 1 })
})

t.test('what is wrong with an order is said, with the mend', async (t) => {
  const { dir, server } = await course(t)
  const { admin } = await runFileOf(server.child, join(dir, 'state'))
  const refusals: [status: number, message: RegExp, path: string, ...options: string[]][] = [
    [400, /there is no view course\/nobody; see overlayd view list course/, '/v1/view/show?view=course/nobody'],
    [400, /must have required property 'view'; see \/openapi\.json/, '/v1/view/show'],
    [400, /must NOT have additional properties/, '/v1/view/list?tempalte=course'],
    [400, /cannot be understood/, '/v1/view/create', '--json', '{'],
    [404, /there is no GET \/v1\/view\/create; see \/openapi\.json/, '/v1/view/create?view=course/bin'],
    [404, /there is no GET \/v1\/nothing/, '/v1/nothing'],
    [400, /there is no job "x"; see overlayd job list/, '/v1/job/show?id=x'],
    [400, /there is no job "x"/, '/v1/job/events?id=x'],
    [403, /a page of another origin/, '/v1/status', '-H', 'Sec-Fetch-Site: cross-site'],
    [403, /a page of another origin/, '/v1/status', '-H', 'Origin: https://evil.example'],
  ]
  for (const [wanted, message, path, ...options] of refusals) {
    const { status, body } = await curl(admin.socket, path, ...options)
    t.equal(status, wanted, path)
    t.match(JSON.parse(body).message, message)
  }
})

t.test('the API is described for programs and for people', async (t) => {
  const { dir } = { dir: t.testdir({ lower: {} }) }
  const state = join(dir, 'state')
  const server = await start(t, ['-o', `lowerdir=${dir}/lower`, ...freePorts(state)])
  const { admin } = await runFileOf(server.child, state)
  const { body } = await curl(admin.socket, '/openapi.json')
  t.same(JSON.parse(body), JSON.parse(JSON.stringify(apiDocument(VERBS))))
  const { status, body: page } = await curl(admin.socket, '/api')
  t.equal(status, 200)
  for (const { name, summary } of VERBS) {
    t.ok(page.includes(`/v1/${name.replaceAll(' ', '/')}`), name)
    t.match(summary, /^[A-Z].*\.$/, 'a sentence')
  }
  t.notMatch(page, /<script/)
  t.equal(await server.stop(), 0)
})

t.test('names of verbs are unique, and all schemas are valid', async (t) => {
  t.equal(new Set(VERBS.map(({ name }) => name)).size, VERBS.length)
  for (const { name, order, result } of VERBS) {
    t.match(name, /^[a-z]+( [a-z]+)?$/)
    t.doesNotThrow(() => ajv().compile(order.schema), name)
    t.doesNotThrow(() => ajv().compile(result.schema), name)
  }
  const ids = Object.values(apiDocument(VERBS).paths).flatMap((path) =>
    Object.values(path).map((each) => each.operationId),
  )
  t.equal(new Set(ids).size, ids.length)
})

t.test('the client reaches a server whose state directory is deeper than a socket may be', async (t) => {
  const dir = t.testdir({ lower: { file: 'x' } })
  const state = join(dir, 'deep'.repeat(30), 'state')
  const server = await start(t, ['-o', `lowerdir=${dir}/lower`, ...freePorts(state)])
  const { admin } = await runFileOf(server.child, state)
  t.ok(admin.socket.length > 107)
  const client = await AdminClient.to(admin)
  t.teardown(() => client.close())
  t.match(await client.run('status', {}), { pid: server.child.pid })
  await t.rejects(client.run('view show', { view: 'a/b' }), {
    status: 400,
    option: 'view',
    message: /there is no template/,
  })
  await t.rejects(client.run('job cancel', { id: 'x' }), { status: 400, option: 'job', message: /there is no job/ })
  t.equal(await server.stop(), 0)
})
