import type { Socket } from 'node:net'
import { join } from 'node:path'
import { newHash } from '../../../server/login/index.ts'
import { ADDRESSES, EXPORTS, outsider } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { http, httpConnect, requestBytes } from '../raw-http.ts'
import type { Target } from '../target.ts'

const PASSWORD = 'the right one'

function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
}

/** A server whose clients log in, with the files of the other attacks. */
async function withLogin(arena: Arena): Promise<Target> {
  const users = join(arena.dir, 'users')
  const lines = ['alice', 'bob', 'probe'].map((name) => `${name}:${newHash(PASSWORD, Buffer.alloc(16, name))}\n`)
  arena.write('users', lines.join(''), 0o600)
  const config = arena.write(
    'overlayd.toml',
    `[layers.files]
path = "${arena.fixtures.names(10)}"
[stacks.files]
layers = ["files"]
[views.overlay]
stack = "files"
upper = "shared"
directory = "${arena.folder('shared')}"
[exports.web]
view = "overlay"
door = "webdav"
[exports.nfs]
view = "overlay"
door = "nfs"
clients = ["${EXPORTS}"]
[login]
sources = ["file"]
password_file = "${users}"
ids = ["100000-199999"]
audit_file = "${join(arena.dir, 'audit')}"
`,
    0o600,
  )
  return await arena.start({ config })
}

/** Sends wrong passwords on a connection, one after the other, until `endMs`. Returns how many were answered, by status. */
async function guess(socket: Socket, name: string, first: number, endMs: number, counts: Map<string, number>) {
  let received = ''
  let sent = first
  const next = () =>
    socket.write(
      requestBytes({
        method: 'GET',
        path: '/overlay/small',
        headers: { authorization: basic(name, `wrong ${sent++}`) },
      }),
    )
  const ended = new Promise<void>((resolve) => {
    socket.on('close', resolve)
    socket.on('data', (data: Buffer) => {
      received += data.toString('latin1')
      const head = received.indexOf('\r\n\r\n')
      const length = Number(/^content-length: (\d+)/im.exec(received)?.[1] ?? 0)
      if (head < 0 || received.length < head + 4 + length) return
      const status = received.slice(9, 12)
      counts.set(status, (counts.get(status) ?? 0) + 1)
      received = ''
      if (performance.now() < endMs) next()
      else socket.destroy()
    })
  })
  next()
  await ended
}

/** Who logs in while others guess. */
async function logIn(target: Target, name: string, address: string): Promise<{ status: number; ms: number }> {
  const startMs = performance.now()
  const headers = { authorization: basic(name, PASSWORD) }
  const { status } = await http(target.webdavPort!, { method: 'GET', path: '/overlay/small', headers, address })
  return { status, ms: performance.now() - startMs }
}

function wrongPasswords(name: string, what: string, addresses: number, quick: boolean): Attack {
  return {
    name,
    by: 'outsider',
    what,
    quick,
    async run(arena) {
      const target = await withLogin(arena)
      await logIn(target, 'probe', ADDRESSES.probe)
      const counts = new Map<string, number>()
      let startedMs = 0
      let tookMs = 0
      const logins: { status: number; ms: number }[] = []
      const attack = async () => {
        startedMs = performance.now()
        const endMs = startedMs + arena.size(8000, 3000)
        const sockets = await Promise.all(
          Array.from({ length: 64 }, (_, i) => httpConnect(target.webdavPort!, outsider(i % addresses))),
        )
        const guesses = sockets.map((socket, i) => guess(socket, i % 2 ? 'alice' : 'nobody', i * 1e6, endMs, counts))
        // The attacked user and another one come meanwhile, each from an address of its own.
        logins.push(await logIn(target, 'alice', ADDRESSES.victim), await logIn(target, 'bob', ADDRESSES.attacker))
        await Promise.all(guesses)
        tookMs += performance.now() - startedMs
      }
      await arena.underLoad(target, attack, { authorization: basic('probe', PASSWORD) })
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
      arena.figure('wrong passwords a second', (total * 1000) / tookMs, '')
      arena.figure('of them checked', counts.get('401') ?? 0, '')
      arena.figure('the slowest right login meanwhile', Math.max(...logins.map(({ ms }) => ms)), 'ms', 10_000)
      arena.check(
        'right passwords work',
        logins.every(({ status }) => status === 200),
        JSON.stringify(logins),
      )
      const statuses = [...counts.keys()].filter((status) => !['401', '429', '503'].includes(status))
      arena.check('every wrong one is refused', total > 0 && statuses.length === 0, JSON.stringify([...counts]))
      const told = `${target.logged}${arena.read('audit')}`
      arena.check('no password is in a log', !told.includes('wrong ') && !told.includes(PASSWORD))
    },
  }
}

export const LOGINS: readonly Attack[] = [
  wrongPasswords(
    'wrong-passwords',
    'an outsider sends thousands of wrong passwords a second, for a user and for names that nobody has',
    1,
    true,
  ),
  wrongPasswords(
    'wrong-passwords-from-many-addresses',
    'outsiders at 64 addresses send wrong passwords as fast as they are answered',
    64,
    false,
  ),
]
