import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../nfs/processes.ts'
import type { Server } from '../webdav/peers.ts'
import { type Client, scriptOf, secondsOf } from './client.ts'

/** A client by davfs2 on this machine. Each mount has an empty cache; files are sent as soon as they are closed. Only in a mount namespace of its own. */
export async function davfsClient(folder: string, server: Server): Promise<Client> {
  const own = join(folder, `davfs-${server.name}`)
  const mountpoint = join(own, 'mount')
  const cache = join(own, 'cache')
  for (const directory of [mountpoint, cache]) await mkdir(directory, { recursive: true })
  await run('chgrp', ['davfs2', cache])
  await run('chmod', ['775', cache])
  // buf_size: kernels from 6.16 on answer EINVAL to readdir with the default of 16.
  const settings = [`secrets ${own}/secrets`, `cache_dir ${cache}`, 'ask_auth 0', 'buf_size 64', 'delay_upload 0']
  await writeFile(join(own, 'conf'), `${settings.join('\n')}\ncache_size 1024\ntable_size 16384\ngui_optimize 0\n`)
  await writeFile(join(own, 'secrets'), '', { mode: 0o600 })
  const pidFile = `/var/run/mount.davfs/${mountpoint.slice(1).replaceAll('/', '-')}.pid`
  const mounting = {
    mountpoint,
    mount: `find ${cache} -mindepth 1 -delete
mount -t davfs -o conf=${own}/conf,uid=0,gid=0 http://127.0.0.1:${server.port}${server.prefix} ${mountpoint}
until [ -s ${pidFile} ]; do sleep 0.02; done
daemon=$(cat ${pidFile})`,
    // umount.davfs would wait for the daemon in steps of three seconds. Nobody may have waited for one that has ended.
    unmount: `umount -i ${mountpoint}
while [ -d /proc/$daemon ] && ! grep -q '^State:.Z' /proc/$daemon/status; do sleep 0.01; done
rm -f ${pidFile}`,
    sendsLate: true,
  }
  return {
    run: async (workload, round) => secondsOf(await runHere(folder, scriptOf(mounting, workload, round))),
    stop: async () => undefined,
  }
}

async function runHere(folder: string, script: string): Promise<string> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: join(folder, 'home'), LC_ALL: 'C' },
  })
  let printed = ''
  child.stdout.on('data', (part) => {
    printed += part
  })
  child.stderr.on('data', (part) => {
    printed = `${part}${printed}`
  })
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`a workload ended with ${status}:\n${printed.slice(-4000)}`)
  return printed
}
