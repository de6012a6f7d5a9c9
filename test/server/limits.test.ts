import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { AS_ROOT, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

const LIMITS = '[limits]\nnames = 1000\nopen_views = 2\nhttp_connections = 6\nnfs_connections = 5\n'

/** Opens connections and waits until so many of them are left. */
async function left(t: Test, port: number, opened: number, expected: number): Promise<void> {
  const open = new Set<Socket>()
  t.teardown(() => {
    for (const socket of open) socket.destroy()
  })
  for (let i = 0; i < opened; i++) {
    const socket = connect(port, '127.0.0.1')
    open.add(socket)
    socket.on('close', () => open.delete(socket)).on('error', () => undefined)
    await new Promise((resolve) => socket.once('connect', resolve))
  }
  while (open.size > expected) await pause(20)
  await pause(300)
  t.equal(open.size, expected)
}

t.test('connections are limited, and a new one closes an idle one', AS_ROOT, async (t) => {
  const { server } = await course(t, { tables: LIMITS })
  await left(t, Number(new URL(server.webdavUrl as string).port), 20, 6)
  await left(t, server.nfsPort as number, 20, 5)
})

t.test('few views are open at once; reload applies other limits, or says what needs a restart', AS_ROOT, async (t) => {
  const { dir, dav } = await course(t, { more: 'create = true\nowner = "1:1"', tables: LIMITS })
  const state = join(dir, 'state')
  const opened = async () => {
    const { stdout } = await run(['view', 'list', '--json', '--state-dir', state])
    return (JSON.parse(stdout) as { state: string }[]).filter((view) => view.state !== 'closed').length
  }
  const visit = async () => {
    for (let i = 0; i < 5; i++) t.equal((await dav('PUT', `/course/~user${i}/own`, { body: 'x' })).status < 300, true)
  }
  await visit()
  while ((await opened()) > 2) await pause(50)
  const file = join(dir, 'o.toml')
  const change = async (from: string, to: string) => {
    writeFileSync(file, readFileSync(file, 'utf8').replace(from, to))
    const { stdout, stderr } = await run(['reload', '--state-dir', state])
    return stdout + stderr
  }
  t.match(await change('open_views = 2', 'open_views = 4'), /limits/)
  await visit()
  t.equal(await opened(), 4)
  const report = await change('http_connections = 6', 'http_connections = 7')
  t.match(report, /restart[\s\S]*limits\.http_connections/)
  t.match(await change('names = 1000', 'names = 5'), /`limits.names` must be a whole number from 1000 to/)
})
