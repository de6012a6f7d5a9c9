import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { layersFor, mountOverlay } from './layers.ts'
import { accepts, run, startDaemon, waitFor } from './processes.ts'
import type { Mode } from './settings.ts'

/** A server under test. */
export interface Server {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly mountPort: number
  readonly exportPath: string
  /** Undefined for one that somebody else runs. */
  readonly pid: number | undefined
  /** That of a proxy in front of it. */
  readonly proxyPid?: number
  /** How connections to it are encrypted: from their first byte, or when asked for (RFC 9289). */
  readonly tls?: 'at once' | 'starttls'
  stop(): Promise<void>
}

/** Where overlayd listens, and for whom. */
export interface Reach {
  readonly host: string
  readonly client: string
}

/** The files of a certificate and its key. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** Starts overlayd as a user does, with `mode` as its export option. `nodeOptions` go to its Node, for profiling; with `pair` clients can encrypt. */
export async function startOverlayd(
  program: string,
  folder: string,
  mode: Mode,
  nodeOptions = '',
  { host, client }: Reach = { host: '127.0.0.1', client: '127.0.0.1' },
  pair?: KeyPair,
): Promise<Server> {
  const { lower, upper, work } = await layersFor(folder, `overlayd-${mode}`)
  const readyFile = join(folder, `ready-${mode}.json`)
  const { NODE_OPTIONS: _, ...env } = process.env
  const daemon = await startDaemon(
    process.execPath,
    [
      ...nodeOptions.split(' ').filter((word) => word !== ''),
      ...[program, '-o', `lowerdir=${lower},upperdir=${upper},workdir=${work}`],
      ...['--webdav', 'off', '--nfs', `${host}:0`, '--export', `${client}(rw,no_root_squash,insecure,${mode})`],
      ...['--state-dir', join(folder, 'state'), '--ready-file', readyFile],
      ...(pair === undefined ? [] : ['--tls', `${pair.cert},${pair.key}`]),
    ],
    env,
  )
  let port = 0
  await waitFor(daemon, 'overlayd', async () => {
    const note = await readFile(readyFile, 'utf8').catch(() => undefined)
    if (note !== undefined) port = (JSON.parse(note) as { nfs: { port: number } }).nfs.port
    return note !== undefined
  })
  const { pid, stop } = daemon
  const where = { name: `overlayd (${mode})`, host, port, mountPort: port, exportPath: '/overlay', pid, stop }
  return pair === undefined ? where : { ...where, tls: 'starttls' }
}

/** Starts NFS-Ganesha over a kernel overlay, and the rpcbind that it wants. Only in namespaces of their own. */
export async function startGanesha(folder: string): Promise<Server> {
  const mountpoint = await mountOverlay(folder, await layersFor(folder, 'ganesha'))
  // What both keep outside of the bench's folder goes nowhere.
  for (const directory of ['/run', '/var/lib/nfs']) await run('mount', ['-t', 'tmpfs', 'tmpfs', directory])
  for (const directory of ['/run/rpcbind', '/run/ganesha', '/var/lib/nfs/ganesha']) {
    await mkdir(directory, { recursive: true })
  }
  const rpcbind = await startDaemon('rpcbind', ['-f'])
  await waitFor(rpcbind, 'rpcbind', () => accepts('127.0.0.1', 111))
  const config = join(folder, 'ganesha.conf')
  await writeFile(config, ganeshaConfig(mountpoint))
  const log = join(folder, 'ganesha.log')
  const daemon = await startDaemon('ganesha.nfsd', ['-F', '-f', config, '-L', log, '-p', join(folder, 'ganesha.pid')])
  await waitFor(daemon, `NFS-Ganesha (see ${log})`, () => accepts('127.0.0.1', 2049))
  return {
    name: 'NFS-Ganesha',
    host: '127.0.0.1',
    port: 2049,
    mountPort: 20048,
    exportPath: mountpoint,
    pid: daemon.pid,
    stop: async () => {
      await daemon.stop()
      await rpcbind.stop()
      await run('umount', [mountpoint])
    },
  }
}

/** Puts stunnel in front of a server, for NFS and MOUNT, with a cipher that the load generator wants. */
export async function behindStunnel(server: Server, folder: string, { cert, key }: KeyPair): Promise<Server> {
  const [port, mountPort] = [PROXY_PORT, PROXY_PORT + 1]
  const config = join(folder, 'stunnel.conf')
  const service = (name: string, from: number, to: number) =>
    `[${name}]\naccept = 127.0.0.1:${from}\nconnect = ${server.host}:${to}\ncert = ${cert}\nkey = ${key}\n`
  const common =
    'foreground = yes\npid =\nsyslog = no\ndebug = warning\nsslVersionMin = TLSv1.3\nciphersuites = TLS_AES_128_GCM_SHA256\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n'
  await writeFile(
    config,
    `${common}${service('nfs', port, server.port)}${service('mount', mountPort, server.mountPort)}`,
  )
  const proxy = await startDaemon('stunnel4', [config])
  await waitFor(proxy, 'stunnel', () => accepts('127.0.0.1', port))
  const stop = async () => {
    await proxy.stop()
    await server.stop()
  }
  return {
    ...server,
    name: `${server.name} behind stunnel`,
    host: '127.0.0.1',
    port,
    mountPort,
    proxyPid: proxy.pid,
    tls: 'at once',
    stop,
  }
}

/** Where stunnel listens for NFS, and on the next one for MOUNT. */
const PROXY_PORT = 20490

/** Starts unfs3 over a kernel overlay, MOUNT and NFS on one port. Only in namespaces of their own. */
export async function startUnfs3(folder: string): Promise<Server> {
  const mountpoint = await mountOverlay(folder, await layersFor(folder, 'unfs3'))
  const exports = join(folder, 'unfs3.exports')
  await writeFile(exports, `${mountpoint} 127.0.0.1(rw,no_root_squash,insecure)\n`)
  const daemon = await startDaemon('unfsd', ['-d', '-p', '-t', '-n', '2049', '-m', '2049', '-e', exports])
  await waitFor(daemon, 'unfsd', () => accepts('127.0.0.1', 2049))
  const { pid } = daemon
  const stop = async () => {
    await daemon.stop()
    await run('umount', [mountpoint])
  }
  return { name: 'unfs3', host: '127.0.0.1', port: 2049, mountPort: 2049, exportPath: mountpoint, pid, stop }
}

/** A server that runs already, with MOUNT and NFS on one port. */
export function runningServer(address: string, exportPath: string): Server {
  const match = /^(.+):(\d+)$/.exec(address)
  if (match === null) throw new Error(`--peer: '${address}' is not ganesha, unfs3, none or HOST:PORT`)
  const port = Number(match[2])
  return {
    name: address,
    host: match[1],
    port,
    mountPort: port,
    exportPath,
    pid: undefined,
    stop: async () => undefined,
  }
}

/** Only NFSv3, and nothing that would slow it down: no statistics, no events. */
function ganeshaConfig(exportPath: string): string {
  return `
NFS_CORE_PARAM { Protocols = 3; NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; }
LOG { Default_Log_Level = WARN; }
EXPORT {
  Export_Id = 1; Path = ${exportPath}; Pseudo = ${exportPath}; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  Protocols = 3; Transports = TCP; MaxRead = 1048576; MaxWrite = 1048576; PrefRead = 1048576; PrefWrite = 1048576;
  PrefReaddir = 65536; Filesystem_Id = 7.7;
  FSAL { Name = VFS; }
}
`
}
