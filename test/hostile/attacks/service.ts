import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { STATUS } from '../../helpers/nfs-client.ts'
import { callMessage, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { ADDRESSES, exportedClient, outsider } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { closed, http, httpConnect, openMany, requestBytes } from '../raw-http.ts'
import { AS_ROOT, type Target } from '../target.ts'

/** What one neighbour may make the server log in the time of an attack. */
const LOG_KIB = 1024

/** Sends `bytes` over and over, on new connections as often as they are closed, for so long. */
async function pour(
  port: number,
  bytes: Buffer,
  forMs: number,
  lanes: number,
  addressOf: (i: number) => string,
): Promise<void> {
  const until = performance.now() + forMs
  await Promise.all(
    Array.from({ length: lanes }, async (_, lane) => {
      while (performance.now() < until) {
        const socket = await httpConnect(port, addressOf(lane)).catch(() => undefined)
        if (socket === undefined) continue
        socket.resume()
        const gone = closed(socket)
        while (!socket.destroyed && socket.writable && performance.now() < until) {
          if (socket.write(bytes)) await sleep(0)
          else await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), gone])
        }
        socket.destroy()
      }
    }),
  )
}

const BAD_URLS = Buffer.concat(
  Array.from({ length: 20 }, (_, i) => requestBytes({ method: 'GET', path: `/overlay/%zz${'x'.repeat(16_000)}${i}` })),
)
const BAD_CALLS = Buffer.concat(
  Array.from({ length: 50 }, (_, i) =>
    record(callMessage(i + 1, [100003, 3, 1], { flavor: 1, body: Buffer.alloc(399, i) }, Buffer.alloc(1000, 'y'))),
  ),
)

/** Whether a service may be made to log without bound. */
function logFlood(
  name: string,
  what: string,
  bytes: Buffer,
  portOf: (target: Target) => number,
  flags: readonly string[] = [],
): Attack {
  return {
    name,
    by: 'outsider',
    what,
    quick: name === 'bad-urls',
    async run(arena) {
      const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags })
      await arena.underLoad(target, async () => {
        const before = target.logBytes
        await pour(portOf(target), bytes, arena.size(5000, 1500), 8, outsider)
        arena.figure('log of one round', (target.logBytes - before) / 1024, 'KiB', LOG_KIB)
      })
    },
  }
}

const stalledStderr: Attack = {
  name: 'stalled-stderr',
  by: 'outsider',
  what: 'bad URLs and bad calls while nobody reads the log, at the level debug',
  quick: true,
  async run(arena) {
    const overlay = arena.overlay(arena.fixtures.names(10))
    const target = await arena.start({ overlay, flags: ['--log-level', 'debug'], log: 'stalled' })
    await arena.underLoad(target, async () => {
      const forMs = arena.size(8000, 2000)
      await Promise.all([
        pour(target.webdavPort!, BAD_URLS, forMs, 4, outsider),
        pour(target.nfsPort!, BAD_CALLS, forMs, 4, outsider),
      ])
    })
    const before = target.meter.residentMiB()
    arena.figure('memory with nobody reading the log', before, 'MiB', 300)
  },
}

/** A file system of so many MiB in memory, with the folders of an upper on it. */
function smallDisk(arena: Arena, sizeMiB: number): { disk: string; overlay: string } {
  const disk = arena.folder('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', disk])
  arena.defer(() => execFileSync('umount', ['-l', disk]))
  const lower = arena.fixtures.names(arena.size(10_000, 3000))
  arena.folder('disk/upper')
  arena.folder('disk/work')
  return { disk, overlay: `lowerdir=${lower},upperdir=${disk}/upper,workdir=${disk}/work` }
}

/** Writes until nothing goes any more. */
function fillDisk(disk: string): void {
  execFileSync('sh', [
    '-c',
    'for i in 1 2; do cat /dev/zero > "$1/filler$i" 2>/dev/null || :; done; i=0; while : > "$1/f$i" && echo x > "$1/f$i"; do i=$((i+1)); [ $i -lt 100 ] || break; done 2>/dev/null || :',
    'sh',
    disk,
  ])
}

const unnoted: Attack = {
  name: 'handles-cannot-be-noted',
  by: 'client',
  what: 'look-ups of thousands of names while the disk of the upper is full',
  quick: false,
  async run(arena) {
    const { disk, overlay } = smallDisk(arena, 8)
    const target = await arena.start({ overlay })
    fillDisk(disk)
    await arena.underLoad(target, async () => {
      const before = target.logBytes
      const nfs = await target.nfs()
      const many = await nfs.walk(await nfs.mount(), 'many')
      const entries = await nfs.list(many)
      for (const { name } of entries.slice(0, 2000)) await nfs.lookup(many, name)
      await nfs.close()
      arena.figure('log of one round', (target.logBytes - before) / 1024, 'KiB', 64)
    })
  },
}

/** A client mounts and reads, and deletes if it can. */
async function mountAndDelete(arena: Arena, target: Target, words: string, deletes: boolean): Promise<void> {
  const nfs = await target.nfs(ADDRESSES.victim)
  const { status, handle } = await nfs.mnt('/overlay')
  arena.check(`${words}: MNT`, status === 0, status)
  if (status === 0) {
    const found = await nfs.lookup(handle, 'small')
    arena.check(`${words}: LOOKUP`, found.status === 0, found.status)
    const read = found.handle && (await nfs.read(found.handle, 0, 100))
    arena.check(`${words}: READ`, read?.data.toString() === 'small\n', read?.status)
    if (deletes) {
      const removed = await nfs.remove(handle, 'victim')
      arena.check(`${words}: REMOVE`, removed.status === 0, removed.status)
    } else {
      const made = await nfs.create(handle, 'new', { mode: 'unchecked' })
      arena.check(`${words}: CREATE says why not`, made.status === STATUS.ROFS, made.status)
    }
  }
  await nfs.close()
  const got = await http(target.webdavPort!, { method: 'GET', path: '/overlay/small' })
  arena.check(`${words}: GET`, got.status === 200, got.status)
  const listed = await http(target.webdavPort!, { method: 'PROPFIND', path: '/overlay/', headers: { depth: '1' } })
  arena.check(`${words}: PROPFIND`, listed.status === 207, listed.status)
}

const fullUpper: Attack = {
  name: 'full-upper',
  by: 'client',
  what: 'the disk of the upper, the workdir and the state directory is full: clients mount, read and delete; the server starts again',
  quick: true,
  async run(arena) {
    const { disk, overlay } = smallDisk(arena, 8)
    const stateDir = join(disk, 'state')
    const target = await arena.start({ overlay, stateDir, flags: AS_ROOT })
    execFileSync('chmod', ['0777', join(disk, 'upper')])
    writeFileSync(join(disk, 'upper/victim'), 'x')
    fillDisk(disk)
    await mountAndDelete(arena, target, 'full', true)
    await target.stop()
    fillDisk(disk)
    const again = await arena.start({ overlay, stateDir, flags: AS_ROOT })
    const nfs = await again.nfs(ADDRESSES.victim)
    const { status, handle } = await nfs.mnt('/overlay')
    arena.check('started on a full disk: MNT', status === 0, status)
    if (status === 0) arena.check('started on a full disk: LOOKUP', (await nfs.lookup(handle, 'small')).status === 0)
    await nfs.close()
    arena.check('it says what is wrong', await again.says(/full|ENOSPC|space/i), again.logged.slice(0, 200))
  },
}

const readOnlyUpper: Attack = {
  name: 'read-only-upper',
  by: 'client',
  what: 'the file system of the upper turns read-only, as after an error of the disk: clients mount and read; the server starts again',
  quick: false,
  async run(arena) {
    const image = join(arena.dir, 'image')
    const disk = arena.folder('disk')
    const sh = (script: string) => execFileSync('sh', ['-ec', script, 'sh', image, disk], { stdio: 'pipe' })
    sh(
      'truncate -s 32M "$1"; mkfs.ext4 -q "$1"; mount -o loop,errors=remount-ro "$1" "$2"; mkdir -m 0777 "$2/upper" "$2/work"; sync -f "$2"',
    )
    arena.defer(() => sh('umount -l "$2"'))
    const lower = arena.fixtures.names(10)
    const overlay = `lowerdir=${lower},upperdir=${disk}/upper,workdir=${disk}/work`
    const target = await arena.start({ overlay })
    // What the kernel does at the first error of the disk.
    sh('mount -o remount,abort "$2"; ! touch "$2/upper/x" 2> /dev/null')
    await mountAndDelete(arena, target, 'read-only', false)
    await target.stop()
    sh('umount "$2"; mount -o loop "$1" "$2"; mount -o remount,ro "$2"')
    const again = await arena.start({ overlay })
    await mountAndDelete(arena, again, 'started read-only', false)
    arena.check('it says so', await again.says(/read-only/i), again.logged.slice(0, 200))
  },
}

/** File operations of all kinds, which need descriptors. A client whose idle connection was closed to make room connects anew, once. */
async function useFiles(arena: Arena, target: Target, count: number): Promise<void> {
  const failures: string[] = []
  for (let i = 0; i < count; i++) {
    try {
      await useOne(target, i, failures).catch((error: Error) => {
        if (!error.message.includes('connection closed')) throw error
        return useOne(target, i, failures)
      })
    } catch (error) {
      failures.push(String(error))
    }
  }
  arena.check('file operations succeed', failures.length === 0, `${failures.length} failures, first ${failures[0]}`)
}

async function useOne(target: Target, i: number, failures: string[]): Promise<void> {
  const note = (what: string, ok: boolean, status: unknown) => {
    if (!ok) failures.push(`${what}: ${status}`)
  }
  const address = ADDRESSES.victim
  const dir = `d${i % 20}`
  const name = `${i}`.padEnd(30, 'a')
  const nfs = await target.nfs(address, 0)
  try {
    const dirHandle = await nfs.walk(await nfs.mount(), `tree/${dir}`)
    const found = await nfs.lookup(dirHandle, name)
    note('LOOKUP', found.status === 0, found.status)
    if (found.handle) note('READ', (await nfs.read(found.handle, 0, 10)).status === 0, 'failed')
    note('READDIRPLUS', (await nfs.readdirplus(dirHandle)).status === 0, 'failed')
  } finally {
    await nfs.close()
  }
  const port = target.webdavPort!
  const got = await http(port, { method: 'GET', path: `/overlay/tree/${dir}/${name}`, address })
  note('GET', got.status === 200, got.status)
  const put = await http(port, { method: 'PUT', path: `/overlay/put-${i}`, body: 'x', address })
  note('PUT', put.status === 201 || put.status === 204, put.status)
  const list = { method: 'PROPFIND', path: `/overlay/tree/${dir}/`, headers: { depth: '1' }, address }
  const { status } = await http(port, { ...list, keep: false })
  note('PROPFIND', status === 207, status)
}

/** A tree of 20 directories whose names are spread as `useFiles` expects. */
function spreadTree(arena: Arena): string {
  const lower = arena.folder('lower')
  writeFileSync(join(lower, 'small'), 'small\n')
  for (let i = 0; i < 400; i++) {
    const dir = arena.folder(`lower/tree/d${i % 20}`)
    writeFileSync(join(dir, `${i}`.padEnd(30, 'a')), 'x')
  }
  execFileSync('chmod', ['0777', lower])
  return lower
}

function fewDescriptors(limit: number, idle: number): Attack {
  return {
    name: `ulimit-n-${limit}`,
    by: 'client',
    what: `${idle} idle connections to a server with ulimit -n ${limit}: files and directories are still served`,
    quick: limit === 64,
    async run(arena) {
      const overlay = arena.overlay(spreadTree(arena))
      const target = await arena.start({ overlay, descriptors: limit, flags: AS_ROOT })
      const half = Math.ceil(idle / 2)
      const sockets = [
        ...(await openMany(target.nfsPort!, half, (i) => exportedClient(i % 10))),
        ...(await openMany(target.webdavPort!, idle - half, (i) => exportedClient(i % 10))),
      ]
      await arena.underLoad(target, () => useFiles(arena, target, arena.size(200, 60)), {
        connecting: limit > 64,
        closes: limit <= 64,
      })
      for (const socket of sockets) socket.destroy()
      const { status } = await http(target.webdavPort!, { method: 'GET', path: '/overlay/small' })
      arena.check('it serves afterwards', status === 200, status)
    },
  }
}

/** A library that tells the server another time of day. */
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1'

/** A wall clock that is set by hand. */
function clockOf(arena: Arena): { env: NodeJS.ProcessEnv; set(words: string): void } {
  const file = join(arena.dir, 'clock')
  writeFileSync(file, '+0')
  if (!existsSync(FAKETIME)) throw new Error('the package libfaketime is missing: apt-get install libfaketime')
  return {
    env: {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_DONT_RESET: '1',
    },
    set: (words) => writeFileSync(file, words),
  }
}

const LOCK_BODY =
  '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'

async function lockFor(target: Target, path: string, seconds: number): Promise<string | undefined> {
  const headers = { timeout: `Second-${seconds}`, 'content-type': 'application/xml' }
  const { head } = await http(target.webdavPort!, { method: 'LOCK', path, headers, body: LOCK_BODY })
  return /^lock-token: <(.*)>/im.exec(head)?.[1]
}

const put = async (target: Target, path: string) =>
  (await http(target.webdavPort!, { method: 'PUT', path, body: 'x' })).status

const clockJumps: Attack = {
  name: 'clock-jumps-and-locks',
  by: 'client',
  what: 'the wall clock goes an hour ahead, or ten years back, while WebDAV locks are held and an upload is not complete, and across a restart',
  quick: true,
  async run(arena) {
    const clock = clockOf(arena)
    const overlay = arena.overlay(arena.fixtures.names(10))
    const flags = AS_ROOT
    const target = await arena.start({ overlay, env: clock.env, flags })
    arena.check('a lock is taken', (await lockFor(target, '/overlay/held', 1800)) !== undefined)
    arena.check('a short lock is taken', (await lockFor(target, '/overlay/short', 5)) !== undefined)
    const tus = { 'tus-resumable': '1.0.0' }
    const metadata = `filename ${Buffer.from('upload').toString('base64')}`
    const headersOfUpload = { ...tus, 'upload-length': '9', 'upload-metadata': metadata }
    const begun = await http(target.webdavPort!, { method: 'POST', path: '/overlay/', headers: headersOfUpload })
    const upload = /^location: (\S+)/im.exec(begun.head)?.[1] ?? '/'
    clock.set('+2d')
    const begunThen = await http(target.webdavPort!, { method: 'HEAD', path: upload, headers: tus })
    arena.check('two days ahead do not end an upload', begunThen.status === 200, begunThen.status)
    clock.set('+3601')
    const ahead = await put(target, '/overlay/held')
    arena.check('an hour ahead does not end a lock', ahead === 423, ahead)
    clock.set('-3650d')
    await sleep(5500)
    const short = await put(target, '/overlay/short')
    arena.check('ten years back do not keep one', short === 201 || short === 204, short)
    const held = await put(target, '/overlay/held')
    arena.check('ten years back do not end one', held === 423, held)
    await target.stop()
    const again = await arena.start({ overlay, env: clock.env, flags })
    const body = '<D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/></D:prop></D:propfind>'
    const headers = { depth: '0', 'content-type': 'application/xml' }
    const found = await http(again.webdavPort!, { method: 'PROPFIND', path: '/overlay/held', headers, body })
    const left = Number(/Second-(\d+)/.exec(found.body.toString())?.[1] ?? 0)
    arena.check('it is held across a restart, for no longer than it was given', left > 0 && left <= 1800, `${left} s`)
  },
}

const expiredUploads: Attack = {
  name: 'expired-uploads',
  by: 'client',
  what: 'uploads that were begun and left are gone two days later, though nobody speaks of uploads again',
  quick: false,
  async run(arena) {
    const clock = clockOf(arena)
    // Timers and the clock of the process go ahead too, as they would in two days.
    const { FAKETIME_DONT_FAKE_MONOTONIC: _, ...env } = clock.env
    const overlay = arena.overlay(arena.fixtures.names(10))
    const target = await arena.start({ overlay, env, flags: AS_ROOT })
    const tus = { 'tus-resumable': '1.0.0' }
    for (let i = 0; i < 5; i++) {
      const name = Buffer.from(`file-${i}`).toString('base64')
      const headers = { ...tus, 'upload-length': '2000000', 'upload-metadata': `filename ${name}` }
      const { head, status } = await http(target.webdavPort!, { method: 'POST', path: '/overlay/', headers })
      const path = /^location: (\S+)/im.exec(head)?.[1]
      arena.check('an upload begins', path !== undefined, status)
      if (path === undefined) return
      const more = { ...tus, 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' }
      await http(target.webdavPort!, { method: 'PATCH', path, headers: more, body: Buffer.alloc(1_000_000, 'x') })
    }
    const staged = () => bytesBelow(join(arena.dir, 'work'))
    arena.check('they lie in the workdir', staged() >= 5_000_000, staged())
    clock.set('+2d')
    const until = performance.now() + 15_000
    while (staged() >= 1_000_000 && performance.now() < until) {
      await http(target.webdavPort!, { method: 'GET', path: '/overlay/small' })
      await sleep(200)
    }
    arena.figure('left in the workdir', staged() / 1024, 'KiB', 1000)
  },
}

function bytesBelow(dir: string): number {
  let bytes = 0
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).blocks * 512
  }
  return bytes
}

/** Connections that are refused are one line now and then, not one each. */
const refusedConnections: Attack = {
  name: 'log-of-refused-calls',
  by: 'outsider',
  what: 'mounts and calls of outsiders that are refused, 3,000 of each',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
    await arena.underLoad(target, async () => {
      const before = target.logBytes
      const rpc = await target.rpc(ADDRESSES.outsider)
      const mount = new XdrWriter().string('/overlay').bytes()
      const calls = Array.from({ length: 3000 }, (_, i) => [
        record(callMessage(2 * i + 1, [100005, 3, 1], undefined, mount)),
        record(callMessage(2 * i + 2, [100003, 3, 99], undefined, Buffer.alloc(400))),
      ])
      rpc.socket.write(Buffer.concat(calls.flat()))
      await sleep(1500)
      await rpc.close()
      arena.figure('log of one round', (target.logBytes - before) / 1024, 'KiB', LOG_KIB)
    })
  },
}

export const SERVICE: readonly Attack[] = [
  logFlood('bad-urls', 'URLs of 16 KB that are none, as fast as they go', BAD_URLS, (target) => target.webdavPort!),
  logFlood(
    'bad-calls',
    'calls with credentials that are none, as fast as they go',
    BAD_CALLS,
    (target) => target.nfsPort!,
  ),
  refusedConnections,
  stalledStderr,
  unnoted,
  fewDescriptors(1024, 500),
  fewDescriptors(64, 8),
  fullUpper,
  readOnlyUpper,
  clockJumps,
  expiredUploads,
]
