import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { NfsClient } from '../helpers/nfs-client.ts'
import { makeScratch } from './helpers/scratch.ts'
import { ShellError } from './helpers/shell.ts'

t.setTimeout(300_000)
const scratch = makeScratch(t)
const top = fileURLToPath(new URL('../..', import.meta.url))
const launcher = join(top, 'server/overlayd.cjs')
const CAPABILITIES = 'chown,dac_override,dac_read_search,fowner,fsetid,mknod,setfcap,sys_admin'
const UID = 61_001

async function until<T>(what: string, look: () => T | undefined | false): Promise<T> {
  for (let tries = 0; tries < 1200; tries++) {
    const found = look()
    if (found !== undefined && found !== false) return found
    await delay(25)
  }
  throw new Error(`${what} never happened`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** A process of the test that is killed at its end. `ended`: its status or signal. */
function started(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { NODE_OPTIONS: _, ...own } = process.env
  const child = spawn(command[0] as string, command.slice(1), {
    detached: true,
    env: { ...own, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (printed += chunk))
  const ended = once(child, 'close').then(([status, signal]) => status ?? signal)
  return { child, printed: () => printed, ended }
}

function layers(name: string): { readonly dir: string; readonly options: string } {
  const dir = join(scratch.path, name)
  for (const part of ['lower/sub', 'upper', 'work']) mkdirSync(join(dir, part), { recursive: true })
  writeFileSync(join(dir, 'lower/below'), 'below\n')
  writeFileSync(join(dir, 'lower/sub/gone'), 'x')
  return { dir, options: `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work` }
}

t.test('the server takes the sockets that systemd has opened, and says so to the service manager', async (t) => {
  const { dir, options } = layers('activated')
  const [webdav, nfs] = [await freePort(), await freePort()]
  const states = join(dir, 'states')
  const socket = join(dir, 'notify')
  const receiver = started(['socat', '-u', `UNIX-RECV:${socket}`, `OPEN:${states},creat,append`])
  await until('the socket', () => existsSync(socket))
  const server = started([
    ...['systemd-socket-activate', '--fdname=webdav:nfs', '-l', `127.0.0.1:${webdav}`, '-l', `127.0.0.1:${nfs}`],
    ...['-E', `NOTIFY_SOCKET=${socket}`, '-E', 'WATCHDOG_USEC=600000'],
    ...[process.execPath, launcher, '-o', options, '--as', 'root', '--state-dir', join(dir, 'state')],
    ...['--webdav', `127.0.0.1:${webdav}`, '--nfs', `127.0.0.1:${nfs}`, '--export', '127.0.0.1(rw,insecure)'],
  ])
  await until('listening', () => /Listening on .*\n.*Listening on/.test(server.printed()))
  const answer = await fetch(`http://127.0.0.1:${webdav}/overlay/below`)
  t.equal(await answer.text(), 'below\n', 'the request that started the server is answered')
  const client = await NfsClient.connect(nfs)
  t.teardown(() => client.close())
  t.ok(await client.mount('/overlay'), 'NFS too')
  const told = () => (existsSync(states) ? readFileSync(states, 'utf8') : '')
  await until('READY', () => /^READY=1\nMAINPID=\d+\nSTATUS=serves overlay/m.test(told()))
  await until('three signs of life', () => told().split('WATCHDOG=1').length > 3)
  server.child.kill('SIGTERM')
  t.equal(await server.ended, 0)
  await until('STOPPING', () => /STOPPING=1/.test(told()))
  receiver.child.kill('SIGTERM')
  await receiver.ended
})

t.test(
  'a socket with another address than the settings is refused, because the settings decide who needs a login',
  async (t) => {
    const { dir, options } = layers('mismatch')
    const port = await freePort()
    const server = started([
      ...['systemd-socket-activate', '--fdname=webdav', '-l', `0.0.0.0:${port}`],
      ...[process.execPath, launcher, '-o', options, '--state-dir', join(dir, 'state')],
      ...['--webdav', `127.0.0.1:${port}`, '--nfs', 'off'],
    ])
    await until('listening', () => /Listening on/.test(server.printed()))
    await fetch(`http://127.0.0.1:${port}/overlay/`).catch(() => undefined)
    t.equal(await server.ended, 2)
    t.match(
      server.printed(),
      /overlayd: --webdav: is 127\.0\.0\.1:\d+, but the socket of the service manager listens on 0\.0\.0\.0:/,
    )
  },
)

t.test(
  'a user with the capabilities of the unit writes uppers as root does, and one without them its own',
  async (t) => {
    for (const powers of ['unit', 'none']) {
      const { dir, options } = layers(powers)
      await scratch.sh(`chown -R ${UID}:${UID} ${dir}/upper ${dir}/work; chmod 600 ${dir}/lower/below; chown 1000:1000 ${dir}/lower/below
      chmod 755 ${dir} ${dir}/lower; ${powers === 'none' ? `chmod 644 ${dir}/lower/below` : ''}`)
      const sets = powers === 'unit' ? CAPABILITIES.replace(/\w+/g, '+$&') : '-all'
      const more = powers === 'unit' ? ['--as', '1000:1000'] : []
      const ready = join(dir, 'ready/file')
      await scratch.sh(`install -d -o ${UID} -g ${UID} ${dir}/ready ${dir}/state`)
      const server = started([
        ...['setpriv', '--reuid', String(UID), '--regid', String(UID), '--clear-groups', '--no-new-privs'],
        ...['--inh-caps', sets, '--ambient-caps', sets, '--bounding-set', powers === 'unit' ? `-all,${sets}` : '-all'],
        ...[process.execPath, launcher, '-o', options, '--state-dir', join(dir, 'state'), ...more],
        ...['--webdav', '127.0.0.1:0', '--nfs', 'off', '--ready-file', ready],
      ])
      await Promise.race([
        until('ready', () => existsSync(ready)),
        server.ended.then(() => Promise.reject(new Error(server.printed()))),
      ])
      const url = (JSON.parse(readFileSync(ready, 'utf8')) as { webdav: string }).webdav
      const send = async (method: string, path: string, body?: string) =>
        (await fetch(new URL(path, url), { method, body: body ?? null })).status
      if (powers === 'unit')
        t.equal(await send('PUT', 'below', 'changed\n'), 204, 'a file of another user is copied up')
      t.equal(await send('MKCOL', 'made/'), powers === 'unit' ? 403 : 201, 'the mode of the root counts')
      server.child.kill('SIGTERM')
      t.equal(await server.ended, 0, server.printed())
      const marks = await scratch.sh(`getfattr -R -m - -h ${dir}/upper 2>/dev/null || true`)
      if (powers === 'unit') {
        t.equal(await scratch.sh(`stat -c '%u:%g %a' ${dir}/upper/below`), '1000:1000 600\n')
        t.match(marks, /trusted\.overlay\./)
        t.notMatch(marks, /user\.overlay\./)
      } else {
        t.equal(await scratch.sh(`stat -c %u ${dir}/upper/made`), `${UID}\n`)
        t.notMatch(marks, /trusted\.overlay\./)
      }
    }
  },
)

t.test('systemd finds nothing wrong with the units, and calls them well protected', async (t) => {
  const units = join(scratch.path, 'units')
  await scratch.sh(`mkdir ${units}; cp ${top}/deploy/systemd/*.service ${top}/deploy/systemd/*.socket ${units}
    sed -i 's|/usr/bin/overlayd|${process.execPath}|' ${units}/*.service
    mkdir ${units}/user; sed 's|/usr/bin/overlayd|${process.execPath}|' ${top}/deploy/systemd/user/overlayd.service > ${units}/user/overlayd.service`)
  t.equal(
    await scratch.sh(
      `systemd-analyze verify --man=no ${units}/overlayd.service ${units}/overlayd-webdav.socket ${units}/overlayd-nfs.socket 2>&1`,
    ),
    '',
  )
  t.equal(
    await scratch.sh(
      `XDG_RUNTIME_DIR=${scratch.path} systemd-analyze verify --man=no --user ${units}/user/overlayd.service 2>&1`,
    ),
    '',
  )
  const rated = await scratch.sh(`systemd-analyze security --offline=true ${units}/overlayd.service --no-pager`)
  const exposure = Number(/Overall exposure level for overlayd.service: ([\d.]+)/.exec(rated)?.[1])
  t.ok(exposure > 0 && exposure < 4, rated)
  scratch.comment(`exposure ${exposure}`)
})

t.test('the shells take the completion scripts, and fish offers what they say', async (t) => {
  await scratch.sh(`zsh -n ${top}/deploy/completion/_overlayd; fish -n ${top}/deploy/completion/overlayd.fish`)
  const offered = async (line: string) =>
    (
      await scratch.sh(
        `HOME=${scratch.path} fish -c 'source ${top}/deploy/completion/overlayd.fish; complete -C "${line}"'`,
      )
    )
      .split('\n')
      .map((each) => each.split('\t')[0])
      .filter(Boolean)
  t.same(await offered('overlayd view re'), ['remove', 'rename'])
  t.ok((await offered('overlayd diff --st')).includes('--stat'))
  t.same(await offered('overlayd --locks '), ['advisory', 'mandatory'])
})

t.test('an error of the scripts would be noticed', async (t) => {
  await t.rejects(scratch.sh(`printf 'if\\n' > ${scratch.path}/broken; zsh -n ${scratch.path}/broken`), ShellError)
})
