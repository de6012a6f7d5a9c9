import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ownDirectory, SERVED_AS } from './tree.ts'

/** A server under test that accepts requests. */
export interface Server {
  readonly name: string
  readonly port: number
  /** The path of the tree's root, with slashes. */
  readonly prefix: string
  /** The process that all others of the server descend from. */
  readonly pid: number
}

interface Started {
  readonly child: ChildProcess
  readonly port: number
  readonly prefix: string
}

/** Where a server's tree and own files are. */
export interface Place {
  /** A kernel overlay over the layers. */
  readonly root: string
  readonly lower: string
  readonly upper: string
  readonly work: string
  /** A folder for configuration, logs and locks, writable by the served user. */
  readonly own: string
  /** PEM files of a certificate and its key: the server is to speak TLS. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
}

const USER = ['--reuid', String(SERVED_AS), '--regid', String(SERVED_AS), '--clear-groups']

/** How each server is started, by its name; overlayd comes first, as it is compared with the others. */
const STARTERS: Readonly<Record<string, (place: Place) => Promise<Started>>> = {
  overlayd: startOverlayd,
  apache: startApache,
  nginx: startNginx,
  lighttpd: startLighttpd,
  rclone: startRclone,
}

/** The servers that overlayd can be compared with. */
export const PEERS = Object.keys(STARTERS).filter((name) => name !== 'overlayd')

/** Whether the server of this name shows the tree by a kernel overlay mount; overlayd takes the layers. */
export function needsMount(name: string): boolean {
  return name !== 'overlayd'
}

/** Starts the server called `name`. `stop` ends all its processes. @throws Error it does not come up */
export async function startServer(name: string, place: Place): Promise<{ server: Server; stop: () => Promise<void> }> {
  await ownDirectory(place.own)
  const start = STARTERS[name]
  if (start === undefined) throw new Error(`there is no server ${name}; known are ${Object.keys(STARTERS).join(', ')}`)
  const { child, port, prefix } = await start(place)
  const ended = once(child, 'exit')
  let stopping = false
  child.on('exit', (status, signal) => {
    if (!stopping) process.stderr.write(`${name} ended by itself: ${signal ?? status}\n`)
  })
  const stop = async () => {
    stopping = true
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await ended
  }
  try {
    await accepts(port, ended)
  } catch (error) {
    await stop()
    throw new Error(`${name} did not start; see ${place.own}`, { cause: error })
  }
  return { server: { name, port, prefix, pid: child.pid! }, stop }
}

async function accepts(port: number, ended: Promise<unknown>): Promise<void> {
  let gone = false
  void ended.then(() => {
    gone = true
  })
  for (let tries = 0; tries < 200; tries++) {
    if (gone) throw new Error('it ended')
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await delay(50)
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`nothing listens on port ${port}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

function run(place: Place, command: string, ...args: string[]): ChildProcess {
  return spawn(command, args, { cwd: place.own, stdio: ['ignore', 'ignore', 'inherit'] })
}

async function startOverlayd(place: Place): Promise<Started> {
  const ready = join(place.own, 'ready.json')
  const profile =
    process.env.OVERLAYD_PROFILE === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', process.env.OVERLAYD_PROFILE]
  const program = join(import.meta.dirname, '../../../server/overlayd.cjs')
  const child = run(
    place,
    process.execPath,
    ...profile,
    program,
    ...['-o', `lowerdir=${place.lower},upperdir=${place.upper},workdir=${place.work}`, '--webdav', '127.0.0.1:0'],
    ...(place.tls === undefined ? [] : ['--tls', `${place.tls.cert},${place.tls.key}`]),
    ...['--nfs', 'off', '--as', `${SERVED_AS}:${SERVED_AS}`, '--state-dir', place.own, '--ready-file', ready, 'bench'],
  )
  for (let tries = 0; tries < 1200; tries++) {
    const text = await readFile(ready, 'utf8').catch(() => undefined)
    if (text !== undefined) {
      const url = new URL((JSON.parse(text) as { webdav: string }).webdav)
      return { child, port: Number(url.port), prefix: url.pathname }
    }
    await delay(50)
  }
  child.kill()
  throw new Error('overlayd did not become ready')
}

async function startApache(place: Place): Promise<Started> {
  const port = await freePort()
  const modules = '/usr/lib/apache2/modules'
  const names = ['mpm_event', 'authz_core', 'dav', 'dav_fs', 'mime', ...(place.tls === undefined ? [] : ['ssl'])]
  const tls = place.tls && `SSLEngine on\nSSLCertificateFile ${place.tls.cert}\nSSLCertificateKeyFile ${place.tls.key}`
  const conf = [
    ...names.map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`),
    `ServerName 127.0.0.1\nListen 127.0.0.1:${port}\nPidFile ${place.own}/pid\nErrorLog ${place.own}/error.log`,
    `User #${SERVED_AS}\nGroup #${SERVED_AS}\nDefaultRuntimeDir ${place.own}\nTypesConfig /etc/mime.types`,
    `DavLockDB ${place.own}/locks\nDocumentRoot ${place.root}\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 300`,
    tls ?? '',
    `<Directory ${place.root}>\nDav On\nRequire all granted\nAllowOverride None\n</Directory>\nLimitXMLRequestBody 0`,
  ].join('\n')
  await writeFile(join(place.own, 'apache.conf'), `${conf}\n`)
  return { child: run(place, 'apache2', '-f', join(place.own, 'apache.conf'), '-DFOREGROUND'), port, prefix: '/' }
}

async function startNginx(place: Place): Promise<Started> {
  const port = await freePort()
  // Uploads are renamed into place, so they have to begin on the same file system.
  const temp = join(place.root, '.uploads')
  await ownDirectory(temp)
  const conf = `load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
user www-data; worker_processes auto; pid ${place.own}/pid; error_log ${place.own}/error.log; daemon off;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path ${temp}; client_max_body_size 0;
  dav_ext_lock_zone zone=locks:10m;
  server {
    listen 127.0.0.1:${port}${place.tls === undefined ? '' : ` ssl; ssl_certificate ${place.tls.cert}; ssl_certificate_key ${place.tls.key}`}; root ${place.root};
    location / { dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=locks; }
  }
}
`
  await writeFile(join(place.own, 'nginx.conf'), conf)
  const args = ['-p', place.own, '-e', join(place.own, 'start.log'), '-c', join(place.own, 'nginx.conf')]
  return { child: run(place, 'nginx', ...args), port, prefix: '/' }
}

async function startLighttpd(place: Place): Promise<Started> {
  const port = await freePort()
  await ownDirectory(join(place.own, 'uploads'))
  const conf = `server.modules = ( "mod_webdav" )
server.document-root = "${place.root}"
server.port = ${port}
server.bind = "127.0.0.1"
server.username = "www-data"
server.groupname = "www-data"
server.errorlog = "${place.own}/error.log"
server.upload-dirs = ( "${place.own}/uploads" )
server.max-keep-alive-requests = 1000000000
server.max-keep-alive-idle = 300
server.max-worker = 2
webdav.activate = "enable"
webdav.sqlite-db-name = "${place.own}/lighttpd.db"
`
  await writeFile(join(place.own, 'lighttpd.conf'), conf)
  return { child: run(place, 'lighttpd', '-D', '-f', join(place.own, 'lighttpd.conf')), port, prefix: '/' }
}

async function startRclone(place: Place): Promise<Started> {
  const port = await freePort()
  const home = join(place.own, 'home')
  await ownDirectory(home)
  await mkdir(home, { recursive: true })
  const serve = ['serve', 'webdav', place.root, '--addr', `127.0.0.1:${port}`, '--config', join(home, 'none')]
  const child = spawn('setpriv', [...USER, 'rclone', ...serve, '--cache-dir', home, '--log-level', 'ERROR'], {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return { child, port, prefix: '/' }
}
