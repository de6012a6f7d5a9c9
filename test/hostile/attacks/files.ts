import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ADDRESSES } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { http, httpConnect, requestBytes } from '../raw-http.ts'
import { AS_ROOT } from '../target.ts'

const TIB = 2 ** 40
/** The largest file of ext4 with blocks of 4 KiB, but for a few. */
const LARGEST = 16 * TIB - 2 ** 20
const CHECKSUM = '<D:propfind xmlns:D="DAV:"><D:prop><checksums xmlns="http://owncloud.org/ns"/></D:prop></D:propfind>'

/** An upper on a file system of so many MiB in memory: whatever an attack does, it fills no disk. */
function boundedUpper(arena: Arena, lower: string, sizeMiB: number): { overlay: string; disk: string } {
  const disk = arena.folder('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', disk])
  arena.defer(() => execFileSync('umount', ['-l', disk]))
  for (const name of ['upper', 'work']) mkdirSync(join(disk, name))
  return { overlay: `lowerdir=${lower},upperdir=${disk}/upper,workdir=${disk}/work`, disk }
}

function usedMiB(disk: string): number {
  return Number(execFileSync('df', ['--output=used', '-k', disk], { encoding: 'utf8' }).split('\n')[1]) / 1024
}

const copyOfHoles: Attack = {
  name: 'copy-of-holes',
  by: 'client',
  what: 'COPY of a file of 1 TiB without data, a request of 90 bytes',
  quick: true,
  async run(arena) {
    const lower = arena.fixtures.hole(TIB)
    const { overlay, disk } = boundedUpper(arena, lower, 128)
    const target = await arena.start({ overlay, flags: AS_ROOT })
    await arena.underLoad(target, async () => {
      const copy = http(target.webdavPort!, {
        method: 'COPY',
        path: '/overlay/hole',
        headers: { destination: '/overlay/copy' },
      })
      const { status } = await Promise.race([copy, sleep(30_000).then(() => ({ status: 0 }))])
      arena.check('it is copied within half a minute', status === 201 || status === 204, status)
      arena.figure('the copy takes', usedMiB(disk), 'MiB', 16)
    })
  },
}

const chmodOfHoles: Attack = {
  name: 'copy-up-of-holes',
  by: 'client',
  what: 'a byte written over NFS, and one by PATCH, to files of 1 TiB without data in a lower',
  quick: false,
  async run(arena) {
    const { overlay, disk } = boundedUpper(arena, arena.fixtures.hole(TIB), 128)
    const target = await arena.start({ overlay, exports: '127.0.0.0/24(rw,no_root_squash,insecure,sync)' })
    await arena.underLoad(target, async () => {
      const nfs = await target.nfs(ADDRESSES.attacker, 0)
      const handle = await nfs.walk(await nfs.mount(), 'hole')
      const writing = nfs.write(handle, 4096, Buffer.from('x'))
      const { status } = await Promise.race([writing, sleep(30_000).then(() => ({ status: -1 }))])
      arena.check('it is written within half a minute', status === 0, status)
      arena.figure('the copy takes', usedMiB(disk), 'MiB', 16)
      await nfs.close()
    })
  },
}

const copyMoveCycle: Attack = {
  name: 'copy-move-cycle',
  by: 'client',
  what: 'COPY /a to /b/x while MOVE /b to /a/z: the copy meets itself',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    writeFileSync(join(lower, 'small'), 'small\n')
    mkdirSync(join(lower, 'b'))
    for (let i = 0; i < 1500; i++) {
      const dir = join(lower, 'a', `d${i % 30}`)
      mkdirSync(dir, { recursive: true })
      writeFileSync(join(dir, `f${i}`), 'x')
    }
    const { overlay, disk } = boundedUpper(arena, lower, 256)
    const target = await arena.start({ overlay, flags: AS_ROOT })
    const port = target.webdavPort!
    await arena.underLoad(
      target,
      async () => {
        let ended = false
        const copy = http(port, { method: 'COPY', path: '/overlay/a', headers: { destination: '/overlay/b/x' } })
          .then(({ status }) => status)
          .catch(() => -1)
          .finally(() => {
            ended = true
          })
        // Whenever the copy lets it in.
        for (let i = 0; i < 20 && !ended; i++) {
          await sleep(25)
          const headers = { destination: '/overlay/a/z' }
          const { status } = await http(port, { method: 'MOVE', path: '/overlay/b', headers })
          if (status === 201 || status === 204) break
        }
        const status = await Promise.race([copy, sleep(45_000).then(() => undefined)])
        arena.check('the copy ends', status !== undefined, 'it still runs after 45 s')
        const names = readdirSync(join(disk, 'upper'), { recursive: true }).length
        arena.figure('names in the upper', names, '', 6500)
      },
      {
        again: async () => {
          await http(port, { method: 'DELETE', path: '/overlay/a/z' })
          await http(port, { method: 'DELETE', path: '/overlay/b' })
          await http(port, { method: 'MKCOL', path: '/overlay/b' })
        },
      },
    )
  },
}

const checksumOfHole: Attack = {
  name: 'checksum-of-a-16-tib-hole',
  by: 'client',
  what: 'eight PROPFINDs that ask for the checksum of a file of 16 TiB without data; another client asks for that of a small file',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.hole(LARGEST)) })
    const port = target.webdavPort!
    const headers = { depth: '0', 'content-type': 'application/xml' }
    await arena.underLoad(target, async () => {
      const askers = await Promise.all(Array.from({ length: 8 }, () => httpConnect(port)))
      for (const socket of askers) {
        socket.resume()
        socket.write(requestBytes({ method: 'PROPFIND', path: '/overlay/hole', headers, body: CHECKSUM }))
      }
      await sleep(500)
      const startedMs = performance.now()
      const asked = http(port, {
        method: 'PROPFIND',
        path: '/overlay/small',
        headers,
        body: CHECKSUM,
        address: ADDRESSES.victim,
      })
      const answer = await Promise.race([asked, sleep(20_000).then(() => undefined)])
      arena.check('another client gets its checksum', answer?.body.includes('SHA1:') === true, answer?.status)
      arena.figure('the checksum of another', (performance.now() - startedMs) / 1000, 's', 5)
      for (const socket of askers) socket.destroy()
    })
    const before = target.meter.cpuMs()
    await sleep(2000)
    arena.figure('processor, once the clients have gone', (target.meter.cpuMs() - before) / 20, '%', 30)
  },
}

/** The names in the central directory of a zip archive. */
function namesInZip(archive: Buffer): string[] {
  const names: string[] = []
  for (
    let at = archive.indexOf('PK\x01\x02', 0, 'latin1');
    at >= 0;
    at = archive.indexOf('PK\x01\x02', at + 4, 'latin1')
  ) {
    names.push(archive.toString('latin1', at + 46, at + 46 + archive.readUInt16LE(at + 28)))
  }
  return names
}

const zipNames: Attack = {
  name: 'zip-names',
  by: 'layer author',
  what: 'names that another system takes for paths (..\\..\\evil, C:\\evil) in a zip archive',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    mkdirSync(join(lower, 'dir'))
    const names = ['..\\..\\evil', 'C:\\evil', '\\\\host\\share\\evil', '..\\', 'a\\..\\..\\b', 'C:evil', 'good']
    for (const name of names) writeFileSync(join(lower, 'dir', name), 'x')
    const target = await arena.start({ overlay: arena.overlay(lower) })
    const { status, body } = await http(target.webdavPort!, { method: 'GET', path: '/overlay/dir/?archive=zip' })
    const inside = namesInZip(dechunked(body))
    const unsafe = inside.filter(
      (name) => name.includes('\\') || /(^|\/)\.\.(\/|$)/.test(name) || /(^|\/)[A-Za-z]:/.test(name),
    )
    arena.check('the archive holds all files', status === 200 && inside.length >= names.length, `${status}: ${inside}`)
    arena.check('no name leads out of the archive', unsafe.length === 0, unsafe.join(' '))
    arena.check('they are told apart', new Set(inside).size === inside.length, inside.join(' '))
  },
}

/** A body with the framing of Transfer-Encoding: chunked taken off, where it has one. */
function dechunked(body: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const end = body.indexOf('\r\n', at)
    const text = end < 0 ? '' : body.toString('latin1', at, end)
    if (!/^[0-9a-f]+$/i.test(text)) return parts.length === 0 ? body : Buffer.concat(parts)
    const length = Number.parseInt(text, 16)
    if (length === 0) return Buffer.concat(parts)
    parts.push(body.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
}

const lowerAttributes: Attack = {
  name: 'foreign-attributes-in-a-lower',
  by: 'layer author',
  what: 'a lower whose files have attributes of overlayd with raw XML, and marks of the overlay that are none',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    const dir = arena.folder('lower/dir')
    const set = (name: string, attribute: string, value: string) =>
      execFileSync('setfattr', ['-n', attribute, '-v', value, join(dir, name)])
    for (const name of ['plain', 'markup', 'open', 'origin', 'metacopy']) writeFileSync(join(dir, name), 'x')
    for (const name of ['long', 'deep', 'opaque']) mkdirSync(join(dir, name))
    const property = (xml: string) => JSON.stringify([['urn:x', 'p', xml]])
    set('markup', 'trusted.overlay.overlayd.dav', property('</D:prop><evil/><script>alert(1)</script><D:prop>'))
    set('open', 'trusted.overlay.overlayd.dav', property('<x:p xmlns:x="urn:x">'))
    set('long', 'trusted.overlay.redirect', `/${'r'.repeat(400)}`)
    set('deep', 'trusted.overlay.redirect', `/${'../'.repeat(60)}etc`)
    set('opaque', 'trusted.overlay.opaque', 'z'.repeat(300))
    set('origin', 'trusted.overlay.origin', 'not a handle')
    set('metacopy', 'trusted.overlay.metacopy', 'm'.repeat(300))
    // Only what has something below it is looked at by its marks.
    const below = arena.folder('below')
    mkdirSync(join(below, 'dir/r'), { recursive: true })
    writeFileSync(join(below, 'small'), 'small\n')
    const target = await arena.start({ overlay: arena.overlay(lower, below) })
    const list = await http(target.webdavPort!, {
      method: 'PROPFIND',
      path: '/overlay/dir/',
      headers: { depth: '1' },
    })
    const text = list.body.toString('latin1')
    arena.check('the directory is listed over WebDAV', list.status === 207 && text.includes('/dir/plain'), list.status)
    arena.check('no raw markup goes out', !text.includes('<evil') && !text.includes('<script'), '')
    arena.check('elements are closed', countOf(text, '<x:p') === countOf(text, '</x:p>'), '')
    const nfs = await target.nfs()
    const handle = await nfs.walk(await nfs.mount(), 'dir')
    for (const how of ['readdir', 'readdirplus'] as const) {
      const names = await nfs.list(handle, how).then(
        (entries) => entries.map(({ name }) => name).join(' '),
        (error) => String(error),
      )
      arena.check(
        `the directory is listed by ${how.toUpperCase()}`,
        names.includes('plain') && names.includes('markup'),
        names,
      )
    }
    arena.check('its other entries are found', (await nfs.lookup(handle, 'plain')).status === 0)
    await nfs.close()
    const page = await http(target.webdavPort!, { method: 'GET', path: '/overlay/dir/' })
    arena.check('its page is shown', page.status === 200 && page.body.includes('plain'), page.status)
    const made = await http(target.webdavPort!, { method: 'GET', path: '/overlay/dir/?archive=tar.gz' })
    arena.check('its archive is sent', made.status === 200 && made.bytes > 100, made.status)
  },
}

function countOf(text: string, part: string): number {
  return text.split(part).length - 1
}

export const FILES: readonly Attack[] = [
  copyOfHoles,
  chmodOfHoles,
  copyMoveCycle,
  checksumOfHole,
  zipNames,
  lowerAttributes,
]
