import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { startOverlayd } from './helpers/overlayd.ts'
import { enterOwnNetwork, HOST_ADDRESS } from './helpers/own-network.ts'
import { makeScratch } from './helpers/scratch.ts'

// Debian's rpcbind: overlayd registers with it, clients find it there, and nothing stays behind.

enterOwnNetwork(import.meta.filename)
const scratch = makeScratch(t)
const { sh } = scratch
await sh('mkdir -p lower upper work && echo lower > lower/file')
const rpcbind = spawn('rpcbind', ['-f', '-w'], { stdio: 'ignore', detached: true })
scratch.killAtEnd(rpcbind.pid!)
await sh('for i in $(seq 100); do rpcinfo -p > /dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1')

/** What is registered beside rpcbind itself, as `program version protocol`. */
const registered = async (): Promise<string[]> =>
  (await sh('rpcinfo -p'))
    .split('\n')
    .map((line) => line.trim().split(/\s+/).slice(0, 3).join(' '))
    .filter((line) => /^\d+ \d/.test(line) && !line.startsWith('100000'))
    .sort()

t.test(
  'programs are registered while the server runs, clients find them, and another server is told why it cannot',
  async (t) => {
    const layers = {
      lowerdir: [join(scratch.path, 'lower')],
      upperdir: join(scratch.path, 'upper'),
      workdir: join(scratch.path, 'work'),
    }
    const overlayd = await startOverlayd(scratch, layers, {
      exports: '10.77.0.0/24(rw,no_root_squash)',
      nfsHost: HOST_ADDRESS,
      flags: ['--rpcbind'],
    })
    t.same(await registered(), [
      '100003 3 tcp',
      '100005 3 tcp',
      '100005 3 udp',
      '100021 4 tcp',
      '100021 4 udp',
      '100024 1 tcp',
      '100024 1 udp',
    ])
    t.match(overlayd.printed(), `mount -t nfs -o vers=3 ${HOST_ADDRESS}:/overlay /mnt`)
    t.equal(await sh(`nfs-cat nfs://${HOST_ADDRESS}/overlay/file`), 'lower\n')
    t.match(await sh(`rpcinfo -T udp ${HOST_ADDRESS} 100021 4`), 'ready and waiting')
    await t.rejects(
      startOverlayd(scratch, { lowerdir: layers.lowerdir }, { nfsHost: HOST_ADDRESS, flags: ['--portmap'] }),
      /--portmap: port 111 is in use; use --rpcbind instead/,
    )
    await overlayd.stop()
    t.same(await registered(), [])

    const dual = await startOverlayd(scratch, layers, {
      exports: '*(rw,insecure)',
      nfsHost: '[::]',
      flags: ['--rpcbind'],
    })
    const byNetid = await sh("rpcinfo -s | awk '$1 != 100000 && $1 ~ /^[0-9]/ { print $1, $3 }' | sort")
    t.match(byNetid, /^100003 \S*tcp6\S*$/m)
    for (const program of [100005, 100021, 100024]) {
      for (const netid of ['tcp', 'udp', 'tcp6', 'udp6'])
        t.match(byNetid, new RegExp(`^${program} \\S*\\b${netid}\\b`, 'm'))
    }
    t.match(await sh('rpcinfo -T tcp6 ::1 100003 3'), 'ready and waiting')
    t.match(await sh('rpcinfo -T udp6 ::1 100005 3'), 'ready and waiting')
    await dual.stop()
    t.equal(await sh("rpcinfo -s | awk '$1 != 100000 && $1 ~ /^[0-9]/'"), '', 'all is taken back')
    rpcbind.kill()
    await once(rpcbind, 'close')
  },
)
