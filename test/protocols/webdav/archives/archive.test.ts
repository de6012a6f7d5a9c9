import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, gunzipSync, inflateRawSync } from 'node:zlib'
import t from 'tap'
import { Random } from '../../../differential/random.ts'
import { ALICE } from '../../../helpers/overlay.ts'
import { until, withDav } from '../dav-fixture.ts'

interface ZipMember {
  readonly name: string
  readonly mode: number
  readonly content: string
}

/** Reads an archive by its directory, as programs do, and checks each checksum. */
function readZip(archive: Buffer): ZipMember[] {
  let end = archive.length - 22
  while (archive.readUInt32LE(end) !== 0x06054b50) end--
  const count = archive.readUInt16LE(end + 10)
  const members: ZipMember[] = []
  let at = archive.readUInt32LE(end + 16)
  for (let i = 0; i < count; i++) {
    const [crc, packed, size] = [16, 20, 24].map((offset) => archive.readUInt32LE(at + offset)) as [
      number,
      number,
      number,
    ]
    const [nameLength, extraLength] = [archive.readUInt16LE(at + 28), archive.readUInt16LE(at + 30)]
    const local = archive.readUInt32LE(at + 42)
    const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28)
    const data = archive.subarray(start, start + packed)
    const content = archive.readUInt16LE(at + 10) === 8 ? inflateRawSync(data) : data
    if (content.length !== size || crc32(content) !== crc) throw new Error('a member is damaged')
    const name = archive.toString('utf8', at + 46, at + 46 + nameLength)
    members.push({ name, mode: archive.readUInt32LE(at + 38) >>> 16, content: content.toString('latin1') })
    at += 46 + nameLength + extraLength
  }
  return members
}

const LONG = `${'long-'.repeat(40)}name`
const tree = {
  'd/a.txt': 'alpha',
  [`d/${LONG}/deep`]: 'x',
  'd/empty/': '',
  'd/link': '-> a.txt',
  'd/ü': 'umlaut',
  'd/run': 'run',
}

t.test('tar.gz: tar unpacks what the view shows, with modes, times, symlinks and hard links', async (t) => {
  await withDav(
    t,
    [tree],
    async ({ ask }) => {
      await ask('PUT', '/overlay/d/new', { body: 'upper', headers: { 'X-OC-Mtime': '1700000000.5' } })
      const answer = await ask('GET', '/overlay/d/?archive=tar.gz')
      t.match(answer, { status: 200, headers: { 'content-type': 'application/gzip' } })
      t.equal(answer.headers['content-disposition'], "attachment; filename*=UTF-8''d.tar.gz")
      const dir = mkdtempSync(join(tmpdir(), 'archive-'))
      t.teardown(() => rmSync(dir, { recursive: true }))
      const archive = Buffer.from(answer.body, 'latin1')
      execFileSync('tar', ['xzpf', '-', '-C', dir], { input: archive })
      t.same(readdirSync(join(dir, 'd')).sort(), ['a.txt', 'empty', 'hard', 'link', LONG, 'new', 'run', 'ü'].sort())
      t.equal(readFileSync(join(dir, 'd', LONG, 'deep'), 'latin1'), 'x')
      t.equal(readlinkSync(join(dir, 'd/link')), 'a.txt')
      t.equal(lstatSync(join(dir, 'd/run')).mode & 0o777, 0o755)
      t.equal(lstatSync(join(dir, 'd/new')).mtimeMs, 1_700_000_000_500)
      t.equal(lstatSync(join(dir, 'd/hard')).ino, lstatSync(join(dir, 'd/a.txt')).ino)
      t.equal(gunzipSync(archive).length % 512, 0)
    },
    {
      prepare: ([lower]) => {
        chmodSync(join(lower!, 'd/run'), 0o755)
        linkSync(join(lower!, 'd/a.txt'), join(lower!, 'd/hard'))
      },
    },
  )
})

t.test('zip: every member with its content, mode and checksum', async (t) => {
  await withDav(
    t,
    [tree],
    async ({ ask }) => {
      const answer = await ask('GET', '/overlay/d?archive=zip')
      t.match(answer, { status: 200, headers: { 'content-type': 'application/zip' } })
      const members = readZip(Buffer.from(answer.body, 'latin1'))
      const by = (name: string) => members.find((member) => member.name === name)
      t.equal(members.length, 9)
      t.match(by('d/a.txt'), { content: 'alpha' })
      t.match(by('d/ü'), { content: 'umlaut' })
      t.match(by('d/empty/'), { content: '' })
      t.match(by('d/link'), { content: 'a.txt', mode: 0o120777 })
      t.match(by('d/run'), { mode: 0o100755 })
      t.match(by('d/big'), { content: 'z'.repeat(300_000) })
    },
    {
      prepare: ([lower]) => {
        chmodSync(join(lower!, 'd/run'), 0o755)
        writeFileSync(join(lower!, 'd/big'), 'z'.repeat(300_000))
        utimesSync(join(lower!, 'd/big'), 1, 1)
      },
    },
  )
})

t.test('the whole view is named after it, and other formats are refused', async (t) => {
  await withDav(t, [{ f: 'x' }], async ({ ask }) => {
    const whole = await ask('GET', '/overlay/?archive=zip')
    t.same(
      readZip(Buffer.from(whole.body, 'latin1')).map(({ name }) => name),
      ['overlay/', 'overlay/f'],
    )
    t.match(await ask('HEAD', '/overlay/?archive=zip'), { status: 200, body: '' })
    t.match(await ask('GET', '/overlay/?archive=rar'), { status: 400 })
  })
})

t.test('what the caller may not read is left out, and a collection he may not read is refused', async (t) => {
  await withDav(
    t,
    [{ 'd/open': 'o', 'd/secret': { content: 's', mode: 0o600 }, 'shut/f': '' }],
    async ({ ask }) => {
      const { body } = await ask('GET', '/overlay/d?archive=zip')
      t.same(
        readZip(Buffer.from(body, 'latin1')).map(({ name }) => name),
        ['d/', 'd/open'],
      )
      t.equal((await ask('GET', '/overlay/shut?archive=zip')).status, 403)
    },
    { cred: ALICE, prepare: ([lower]) => chmodSync(join(lower!, 'shut'), 0o700) },
  )
})

t.test('a client that leaves ends the archive, and one that does not read holds it back', async (t) => {
  const big = Array.from({ length: 40 }, (_, i) => [`d/f${i}`, i] as const)
  await withDav(
    t,
    [Object.fromEntries(big.map(([name]) => [name, '']))],
    async ({ client, handle, held }) => {
      const sent = await client.request({ method: 'GET', path: '/overlay/d?archive=tar.gz' })
      sent.body.once('readable', () => undefined)
      await until(() => (handle.counters.bytesOut ?? 0) > 0)
      let before = -1
      await until(async () => {
        const now = handle.counters.bytesOut ?? 0
        const still = now === before
        before = now
        await new Promise((resolve) => setTimeout(resolve, 50))
        return still
      })
      t.ok(before < 60_000_000, `only ${before} bytes are under way`)
      sent.body.destroy()
      sent.body.on('error', () => undefined)
      await until(() => held.open === 0 && handle.counters.abortedDownloads === 1)
    },
    {
      prepare: ([lower]) => {
        // It must not shrink to what the buffers of a connection hold.
        const random = new Random(1)
        const noise = Buffer.from(Uint32Array.from({ length: 500_000 }, () => random.below(2 ** 32)).buffer)
        for (const [name] of big) writeFileSync(join(lower!, name), noise)
      },
    },
  )
})
