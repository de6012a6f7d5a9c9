import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { type Daemon, run, startDaemon } from '../nfs/processes.ts'
import type { Server } from '../nfs/servers.ts'
import { type Client, scriptOf, secondsOf } from './client.ts'
import type { Workload } from './workloads.ts'

/** Of this machine, in the network that it shares with the client. */
export const HOST_ADDRESS = '10.77.0.1'
/** Of the client. */
export const CLIENT_ADDRESS = '10.77.0.2'
const TAP = 'bench0'
const MEMORY = '1024M'
/** How long it may take to come up. */
const BOOT_MS = 120_000

/** A Linux kernel with its NFS client, in user mode, which takes scripts. */
export interface KernelClient {
  /** A client of `server`; stopping it leaves the kernel as it is. */
  of(server: Server): Client
  stop(): Promise<void>
}

/** Makes the network and boots the client on it. Only in a network namespace of its own. `folder` has `home`. @throws Error it does not come up */
export async function bootKernelClient(folder: string): Promise<KernelClient> {
  await run('ip', ['tuntap', 'add', TAP, 'mode', 'tap'])
  await run('ip', ['addr', 'add', `${HOST_ADDRESS}/24`, 'dev', TAP])
  await run('ip', ['link', 'set', TAP, 'up'])
  const server = createServer().listen(0, HOST_ADDRESS)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const daemon = await startKernel(folder, port)
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), BOOT_MS)
  void daemon.ended.then(() => abort.abort())
  try {
    const [socket] = (await once(server, 'connection', { signal: abort.signal })) as [Socket]
    const lines = createInterface({ input: socket })
    await once(lines, 'line', { signal: abort.signal })
    const of = (peer: Server): Client => ({
      run: (workload, round) => runThere({ socket, lines, folder }, peer, workload, round),
      stop: async () => undefined,
    })
    const stop = async (): Promise<void> => {
      socket.destroy()
      await daemon.stop()
    }
    return { of, stop }
  } catch (error) {
    await daemon.stop()
    throw new Error(`the kernel client did not come up:\n${daemon.said()}`, { cause: error })
  } finally {
    clearTimeout(timer)
    server.close()
  }
}

async function startKernel(folder: string, port: number): Promise<Daemon> {
  // Its memory is a file, which may as well stay in memory.
  const env = { ...process.env, TMPDIR: existsSync('/dev/shm') ? '/dev/shm' : folder }
  return await startDaemon(
    'linux.uml',
    [
      ...[`mem=${MEMORY}`, `uml_dir=${folder}`, 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', 'quiet'],
      ...['con=null', 'con0=null,fd:1', 'ssl=null', `vec0:transport=tap,ifname=${TAP},depth=64,gro=1`],
      ...[`init=${join(import.meta.dirname, 'client-init')}`, `bench_folder=${folder}`, `bench_port=${port}`],
    ],
    env,
  )
}

interface Line {
  readonly socket: Socket
  readonly lines: Interface
  readonly folder: string
}

async function runThere(
  { socket, lines, folder }: Line,
  server: Server,
  workload: Workload,
  round: number,
): Promise<number> {
  const { port, mountPort, exportPath } = server
  // noacl: NFS-Ganesha answers requests for ACLs with EIO.
  const options = `vers=3,proto=tcp,nolock,noacl,port=${port},mountport=${mountPort},mountproto=tcp`
  const mounting = {
    mountpoint: '/run/mount/bench',
    mount: `mount.nfs ${HOST_ADDRESS}:${exportPath} /run/mount/bench -o ${options}`,
    unmount: 'umount /run/mount/bench',
    sendsLate: false,
  }
  await writeFile(join(folder, 'script'), scriptOf(mounting, workload, round))
  const answered = once(lines, 'line')
  socket.write('script\n')
  const [status] = (await answered) as [string]
  const printed = await readFile(join(folder, 'script.out'), 'utf8')
  if (status !== '0')
    throw new Error(`${workload.name} on ${server.name} ended with ${status}:\n${printed.slice(-4000)}`)
  return secondsOf(printed)
}
