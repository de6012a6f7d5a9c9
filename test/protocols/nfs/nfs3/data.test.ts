import { lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../../../helpers/nfs-client.ts'
import { onDisk } from '../../../helpers/overlay.ts'
import { withNfs } from '../nfs-fixture.ts'

const MIB = 1024 * 1024

t.test('READ gives the part asked for and says exactly where the end is', async (t) => {
  await withNfs(t, [{ file: '0123456789', empty: '' }], async ({ client, root }) => {
    const handle = await client.walk(root, 'file')
    const cases: [offset: number | bigint, count: number, data: string, eof: boolean][] = [
      [0, 10, '0123456789', true],
      [0, 9, '012345678', false],
      [0, 11, '0123456789', true],
      [3, 3, '345', false],
      [9, 1, '9', true],
      [10, 5, '', true],
      [11, 5, '', true],
      [0, 0, '', false],
      [10, 0, '', true],
      [2n ** 64n - 1n, 4096, '', true],
    ]
    for (const [offset, count, data, eof] of cases) {
      const answer = await client.read(handle, offset, count)
      t.match({ status: answer.status, data: answer.data.toString(), eof: answer.eof }, { status: 0, data, eof })
      t.equal(answer.attr?.size, 10)
    }
    t.match(await client.read(await client.walk(root, 'empty'), 0, 100), { data: { length: 0 }, eof: true })
  })
})

t.test('READ of more than 1 MiB gives 1 MiB, several at once come out whole', async (t) => {
  await withNfs(
    t,
    [{ big: '' }],
    async ({ client, root, lowers }) => {
      const handle = await client.walk(root, 'big')
      const content = readFileSync(join(lowers[0], 'big'))
      t.equal((await client.read(handle, 0, 0xffff_ffff)).data.length, MIB)
      const parts = await Promise.all([0, 1, 2, 3, 4, 5].map((i) => client.read(handle, i * MIB, MIB)))
      t.ok(Buffer.concat(parts.map(({ data }) => data)).equals(content), 'the same bytes')
      t.same(
        parts.map(({ eof }) => eof),
        [false, false, false, false, false, true],
      )
    },
    { prepare: ([lower]) => fillPattern(join(lower, 'big'), 5 * MIB + 12345) },
  )
})

t.test('READ of what is no regular file is refused, and by permission', async (t) => {
  const tree = { 'dir/': '', secret: { content: 'x', mode: 0o600 }, run: { content: 'code', mode: 0o711 } }
  await withNfs(t, [tree], async ({ client, root }) => {
    t.equal((await client.read(await client.walk(root, 'dir'), 0, 10)).status, STATUS.INVAL)
    const alice = client.as(1000)
    const answer = await alice.read(await client.walk(root, 'secret'), 0, 10)
    t.equal(answer.status, STATUS.ACCES)
    t.equal(answer.attr?.size, 1, 'with attributes')
    t.equal((await alice.read(await client.walk(root, 'run'), 0, 10)).data.toString(), 'code', 'execute is enough')
  })
})

t.test('WRITE copies up and leaves the lower alone', async (t) => {
  await withNfs(t, [{ 'dir/file': 'lower content' }], async ({ client, root, upper }) => {
    const handle = await client.walk(root, 'dir/file')
    const answer = await client.write(handle, 6, Buffer.from('CONTENT!'))
    t.match(answer, { status: STATUS.OK, count: 8, committed: 2, verifier: '0123456789abcdef' })
    t.equal(answer.wcc?.before?.size, 13)
    t.equal(answer.wcc?.after?.size, 14)
    t.equal(readFileSync(join(upper, 'dir/file'), 'latin1'), 'lower CONTENT!')
    t.equal((await client.read(handle, 0, 100)).data.toString(), 'lower CONTENT!')
  })
})

t.test('WRITE of each stability, of nothing, of any length and beyond the end', async (t) => {
  await withNfs(t, [{}], async ({ client, root, upper }) => {
    const { handle } = await client.create(root, 'file')
    for (const stable of [0, 1, 2] as const) {
      const answer = await client.write(handle!, stable, Buffer.from([65 + stable]), stable)
      t.equal(answer.status, STATUS.OK)
      t.ok(answer.committed >= stable, 'at least as stable as asked for')
    }
    t.match(await client.write(handle!, 1000, Buffer.alloc(0)), { status: STATUS.OK, count: 0 })
    t.equal(lstatSync(join(upper, 'file')).size, 3, 'writing nothing does not lengthen')
    await client.write(handle!, 10, Buffer.from('Z'))
    t.equal(readFileSync(join(upper, 'file'), 'latin1'), 'ABC\0\0\0\0\0\0\0Z')
    for (const length of [1, 2, 3, 4, 5, 4095, 4096, 4097, 65537]) {
      const data = pattern(length)
      t.match(await client.write(handle!, 0, data, 0), { status: STATUS.OK, count: length })
      t.ok((await client.read(handle!, 0, length)).data.equals(data), `${length} bytes`)
    }
  })
})

t.test('WRITE of 1 MiB at a time, many under way', async (t) => {
  await withNfs(t, [{}], async ({ client, root, upper }) => {
    const { handle } = await client.create(root, 'big')
    const data = pattern(8 * MIB)
    const answers = await Promise.all(
      [7, 0, 3, 1, 2, 6, 5, 4].map((i) => client.write(handle!, i * MIB, data.subarray(i * MIB, (i + 1) * MIB), 0)),
    )
    t.same(
      answers.map(({ status, count }) => [status, count]),
      Array(8).fill([0, MIB]),
    )
    t.equal((await client.commit(handle!)).status, STATUS.OK)
    t.ok(readFileSync(join(upper, 'big')).equals(data))
  })
})

t.test('WRITE is refused where it cannot be', async (t) => {
  const tree = { 'dir/': '', file: { content: 'x', mode: 0o644 }, link: '-> file' }
  await withNfs(t, [tree], async ({ client, root, upper }) => {
    const file = await client.walk(root, 'file')
    const data = Buffer.from('data')
    t.equal((await client.write(await client.walk(root, 'dir'), 0, data)).status, STATUS.INVAL)
    t.equal((await client.write(await client.walk(root, 'link'), 0, data)).status, STATUS.INVAL)
    t.equal((await client.write(file, 0, data, 2, 3)).status, STATUS.INVAL, 'count is not the length')
    t.equal((await client.write(file, 2n ** 64n - 1n, data)).status, STATUS.FBIG)
    t.equal((await client.write(file, Number.MAX_SAFE_INTEGER, data)).status, STATUS.FBIG)
    t.equal((await client.as(1000).write(file, 0, data)).status, STATUS.ACCES)
    t.same(onDisk(upper), [], 'nothing was copied up')
  })
})

t.test('the owner may write a file without write permission, as over a local open descriptor', async (t) => {
  await withNfs(t, [{ 'home/': { mode: 0o777 } }], async ({ client, root }) => {
    const alice = client.as(1000)
    const home = await client.walk(root, 'home')
    const { handle } = await alice.create(home, 'file', { mode: 'guarded', attr: { mode: 0o444 } })
    t.equal((await alice.write(handle!, 0, Buffer.from('x'))).status, STATUS.OK)
    t.equal((await client.as(1001).write(handle!, 0, Buffer.from('y'))).status, STATUS.ACCES)
  })
})

t.test('WRITE by another user than root drops setuid', async (t) => {
  await withNfs(t, [{ suid: { content: 'x', mode: 0o4777 } }], async ({ client, root, upper }) => {
    const handle = await client.walk(root, 'suid')
    t.equal((await client.as(1000).write(handle, 0, Buffer.from('y'))).status, STATUS.OK)
    t.equal(statSync(join(upper, 'suid')).mode & 0o7777, 0o777)
    t.equal((await client.getattr(handle)).attr?.mode, 0o777)
  })
})

t.test('a file beyond 4 GiB is truncated, written and read at its end, zeros in between', async (t) => {
  await withNfs(t, [{}], async ({ client, root, upper }) => {
    const { handle } = await client.create(root, 'sparse', { mode: 'guarded', attr: { size: 5_000_000_000 } })
    t.equal((await client.getattr(handle!)).attr?.size, 5_000_000_000)
    await client.write(handle!, 5_000_000_000, Buffer.from('end'))
    const { data, eof } = await client.read(handle!, 4_999_999_995, 100)
    t.equal(data.toString('latin1'), '\0\0\0\0\0end')
    t.ok(eof)
    t.equal(lstatSync(join(upper, 'sparse')).size, 5_000_000_003)
    t.equal((await client.remove(root, 'sparse')).status, STATUS.OK)
  })
})

t.test('an unlinked file stays readable through its handle or is stale, never another file', async (t) => {
  await withNfs(t, [{}], async ({ client, root }) => {
    const { handle } = await client.create(root, 'a')
    await client.write(handle!, 0, Buffer.from('first'))
    t.equal((await client.remove(root, 'a')).status, STATUS.OK)
    const { handle: second } = await client.create(root, 'a')
    await client.write(second!, 0, Buffer.from('second'))
    const answer = await client.read(handle!, 0, 100)
    t.ok(answer.status === STATUS.STALE || answer.data.toString() === 'first')
  })
})

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) & 0xff
  return bytes
}

function fillPattern(path: string, length: number): void {
  writeFileSync(path, pattern(length))
}
