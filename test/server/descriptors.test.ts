import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RpcClient } from '../helpers/rpc-client.ts'
import { LAUNCHER, plainly } from './launch.ts'

t.setTimeout(180_000)

/** Opens idle connections to a port, as an outsider does who never says anything. */
async function idle(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let i = 0; i < count; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    sockets.push(socket)
    await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  }
  return sockets
}

for (const limit of [1024, 256, 64]) {
  t.test(
    `with ${limit} descriptors 500 idle connections stop no operation, and no connection in use is closed`,
    async (t) => {
      const dir = t.testdir({ l: {}, u: {}, w: {}, state: {} })
      for (let i = 0; i < 80; i++) {
        mkdirSync(join(dir, `l/d${i}`))
        writeFileSync(join(dir, `l/d${i}/f`), `content ${i}`)
      }
      const readyFile = join(dir, 'ready')
      const options = ['-o', `lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`, '--state-dir', `${dir}/state`]
      const root = process.geteuid?.() === 0 ? ['--as', 'root'] : []
      const doors = ['--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0', '--ready-file', readyFile, ...root]
      const { file, args, env } = plainly(process.execPath, LAUNCHER, ...options, ...doors)
      const script = `ulimit -n ${limit}; exec "$@"`
      const server = spawn('sh', ['-c', script, 'sh', file, ...args], { env, stdio: ['ignore', 'ignore', 'pipe'] })
      let complaints = ''
      server.stderr.on('data', (text) => {
        complaints += text
      })
      const ended = once(server, 'exit')
      let sockets: Socket[] = []
      t.teardown(async () => {
        for (const socket of sockets) socket.destroy()
        server.kill()
        await ended
      })
      while (!existsSync(readyFile) && server.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20))
      if (server.exitCode !== null) throw new Error(complaints)
      const ready = JSON.parse(readFileSync(readyFile, 'utf8')) as { webdav: string; nfs: { port: number } }
      sockets = [...(await idle(Number(new URL(ready.webdav).port), 250)), ...(await idle(ready.nfs.port, 250))]
      await serialClients(t, ready, sockets)
      for (let i = 0; i < 80; i++) {
        const got = await curl(`${ready.webdav}d${i}/f`)
        if (got !== `content ${i}`) t.fail(`GET ${i}: ${got}`)
      }
      t.equal(await curl('-X', 'MKCOL', '-w', '%{http_code}', '-o', '/dev/null', `${ready.webdav}new`), '201')
      const put = ['-T', join(dir, 'l/d0/f'), '-w', '%{http_code}', '-o', '/dev/null']
      t.equal(await curl(...put, `${ready.webdav}new/f`), '201')
      t.match(await curl('-X', 'PROPFIND', '-H', 'Depth: 1', ready.webdav), /d79/)
      t.notMatch(complaints, /uncaught|unhandled/)
    },
  )
}

/** Clients that send one request after the other, while idle connections keep coming, see none of their connections closed without notice. */
async function serialClients(
  t: Test,
  ready: { webdav: string; nfs: { port: number } },
  sockets: Socket[],
): Promise<void> {
  const port = Number(new URL(ready.webdav).port)
  let running = true
  const flood = async (target: number) => {
    while (running) sockets.push(...(await idle(target, 5)))
  }
  const floods = [flood(port), flood(ready.nfs.port)]
  try {
    const nfs = await RpcClient.connect(ready.nfs.port)
    for (let i = 0; i < 100; i++) await nfs.call([100003, 3, 0])
    await nfs.close()
    const client = new SerialHttp(port)
    for (let i = 0; i < 100; i++) {
      const status = await client.get(`/overlay/d${i % 80}/f`)
      if (status !== 200) t.fail(`GET ${i}: ${status}`)
    }
    client.close()
  } finally {
    running = false
    await Promise.all(floods)
  }
}

/** Sends requests on one connection for as long as the server keeps it, by what its replies say. */
class SerialHttp {
  readonly #port: number
  #socket: Socket | undefined

  constructor(port: number) {
    this.#port = port
  }

  /** The status of the reply. Rejects if the connection is closed without one. */
  async get(path: string): Promise<number> {
    this.#socket ??= connect(this.#port, '127.0.0.1')
    const socket = this.#socket
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
    const head = await new Promise<string>((resolve, reject) => {
      let text = ''
      const closed = () => reject(new Error('the connection was closed'))
      socket.on('error', reject).on('close', closed)
      socket.on('data', function read(data) {
        text += data.toString('latin1')
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1])
        if (!(text.length >= text.indexOf('\r\n\r\n') + 4 + length)) return
        socket.off('data', read).off('error', reject).off('close', closed)
        resolve(text)
      })
    })
    if (/^connection: close/im.test(head)) this.close()
    return Number(head.slice(9, 12))
  }

  close(): void {
    this.#socket?.on('error', () => undefined).destroy()
    this.#socket = undefined
  }
}

function curl(...args: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile('curl', ['-s', '-S', '--max-time', '20', ...args], (error, stdout, stderr) => {
      resolve(error === null ? stdout : `${stdout}${stderr}`)
    })
  })
}
