import t from 'tap'
import { type Entry, type NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import type { Tree } from '../../../helpers/overlay.ts'
import { withNfs } from '../nfs-fixture.ts'

const EMPTY_PAGE = 88 + 8 + 8

t.test('READDIR and READDIRPLUS list the merged directory once, with "." and ".."', async (t) => {
  const layers = [
    { 'd/a': '', 'd/b': '' },
    { 'd/b': 'hidden', 'd/c/': '', 'd/l': '-> x' },
  ]
  await withNfs(t, layers, async ({ client, root }) => {
    const dir = await client.walk(root, 'd')
    for (const how of ['readdir', 'readdirplus'] as const) {
      const names = (await client.list(dir, how)).map(({ name }) => name)
      t.same(names.slice(0, 2), ['.', '..'])
      t.same([...names].sort(), ['.', '..', 'a', 'b', 'c', 'l'])
    }
  })
})

t.test('file ids are those of GETATTR, handles and attributes those of LOOKUP', async (t) => {
  await withNfs(t, [{ 'd/a': 'content', 'd/e/': '' }], async ({ client, root }) => {
    const dir = await client.walk(root, 'd')
    const plus = await client.list(dir, 'readdirplus')
    const plain = await client.list(dir, 'readdir')
    for (const [i, entry] of plus.entries()) {
      const { handle, attr } = await client.lookup(dir, entry.name)
      t.same(entry.handle, handle, entry.name)
      t.same(entry.attr, attr)
      t.equal(entry.fileid, attr?.fileid)
      t.same([plain[i].name, plain[i].fileid, plain[i].cookie], [entry.name, entry.fileid, entry.cookie])
    }
    const [dot, dotDot] = await client.list(root)
    t.equal(dot.fileid, dotDot.fileid, 'the root is its own parent')
  })
})

t.test('a listing is complete and without repeats at every page size', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 150; i++) tree[`d/file-${i}${'x'.repeat(i % 40)}`] = ''
  await withNfs(t, [tree as Tree], async ({ client, root }) => {
    const dir = await client.walk(root, 'd')
    const all = Object.keys(tree)
      .map((path) => path.slice(2))
      .concat('.', '..')
      .sort()
    for (const size of [200, 256, 333, 512, 1024, 4096, 65536, 0xffff_ffff]) {
      t.same(names(await client.list(dir, 'readdir', size)), all, `READDIR ${size}`)
    }
    for (const size of [340, 512, 1000, 4096, 65536, 0xffff_ffff]) {
      t.same(names(await client.list(dir, 'readdirplus', size)), all, `READDIRPLUS ${size}`)
    }
  })
})

t.test('no page is longer than asked for, and none leaves out an entry that would fit', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 40; i++) tree[`${'n'.repeat(i + 1)}`] = ''
  await withNfs(t, [tree as Tree], async ({ client, root }) => {
    for (const how of ['readdir', 'readdirplus'] as const) {
      const whole = await client[how](root, 0, 65536)
      const perEntry = (name: string) => 24 + ((name.length + 3) & ~3) + (how === 'readdir' ? 0 : 88 + 8 + 36)
      for (let size = EMPTY_PAGE; size <= 2000; size += 4) {
        const page = await client[how](root, 0, size)
        if (page.status === STATUS.TOOSMALL) {
          t.ok(EMPTY_PAGE + perEntry('.') > size, `${how} ${size} is too small for one entry`)
          continue
        }
        const next = whole.entries.at(page.entries.length)
        const wasted = next !== undefined && page.size + perEntry(next.name) <= size
        if (page.size > size || wasted || page.eof !== (next === undefined))
          t.fail(`${how} ${size}: page of ${page.size}`)
      }
      t.equal(whole.size, EMPTY_PAGE + whole.entries.reduce((sum, { name }) => sum + perEntry(name), 0))
    }
  })
})

t.test('dircount limits what is not handles and attributes; one entry is always given', async (t) => {
  // The order of names differs from overlay to overlay, so all are short here.
  await withNfs(t, [{ a: '', b: '', c: '' }], async ({ client, root }) => {
    t.equal((await client.readdirplus(root, 0, 65536, 3 * 28)).entries.length, 3)
    t.equal((await client.readdirplus(root, 0, 65536, 3 * 28 - 1)).entries.length, 2)
  })
  await withNfs(t, [{ a: '', b: '', c: '', [`${'long'.repeat(60)}`]: '' }], async ({ client, root }) => {
    const entries: Entry[] = []
    for (;;) {
      const page = await client.readdirplus(root, entries.at(-1)?.cookie ?? 0, 65536, 8)
      entries.push(...page.entries)
      if (page.eof) break
      t.equal(page.entries.length, 1)
    }
    t.equal(entries.length, 6)
  })
})

t.test('counts of zero and other small ones are refused as too small', async (t) => {
  await withNfs(t, [{ file: '' }], async ({ client, root }) => {
    for (const size of [0, 1, 8, 100, EMPTY_PAGE]) {
      t.equal((await client.readdir(root, 0, size)).status, STATUS.TOOSMALL)
      t.match(await client.readdirplus(root, 0, size), { status: STATUS.TOOSMALL, dirAttr: { type: 2 } })
    }
    const { cookie } = (await client.list(root)).at(-1) as Entry
    t.match(
      await client.readdir(root, cookie, EMPTY_PAGE),
      { status: STATUS.OK, entries: [], eof: true },
      'an empty rest fits',
    )
  })
})

t.test('a listing goes on where it was, whatever comes and goes in between', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 60; i++) tree[`keep-${i}`] = ''
  await withNfs(t, [tree as Tree], async ({ client, root }) => {
    const seen: string[] = []
    let cookie = 0n
    for (let round = 0; ; round++) {
      const page = await client.readdir(root, cookie, 400)
      seen.push(...page.entries.map(({ name }) => name))
      if (page.eof) break
      cookie = page.entries.at(-1)?.cookie ?? 0n
      await client.create(root, `new-${round}`)
      if (round > 0) await client.remove(root, `new-${round - 1}`)
    }
    const kept = seen.filter((name) => name.startsWith('keep'))
    t.same([...kept].sort(), Object.keys(tree).sort(), 'each entry that was there throughout exactly once')
  })
})

t.test('a cookie that was never given is an error or an end, and any verifier is accepted', async (t) => {
  await withNfs(t, [{ file: '' }], async ({ client, root }) => {
    t.equal((await client.readdir(root, 2n ** 64n - 1n)).status, STATUS.BAD_COOKIE)
    t.equal((await client.readdirplus(root, 2n ** 63n)).status, STATUS.BAD_COOKIE)
    t.equal((await client.readdir(root, 2n ** 53n + 2n)).status, STATUS.BAD_COOKIE)
    t.equal((await client.readdir(root, 2n ** 53n + 1n)).status, STATUS.OK, 'the largest one possible')
  })
})

t.test('READDIR needs a directory and permission', async (t) => {
  const tree = { file: '', 'read-only/': { mode: 0o744 }, 'read-only/x': '', 'locked/': { mode: 0o700 } }
  await withNfs(t, [tree], async ({ client, root }) => {
    const file = await client.walk(root, 'file')
    t.match(await client.readdir(file), { status: STATUS.NOTDIR, dirAttr: { type: 1 } })
    t.equal((await client.readdirplus(file)).status, STATUS.NOTDIR)
    const alice = client.as(1000)
    t.equal((await alice.readdir(await client.walk(root, 'locked'))).status, STATUS.ACCES)
    const listable = await client.walk(root, 'read-only')
    const x = (await alice.list(listable)).find(({ name }) => name === 'x')
    t.match(x, { attr: undefined, handle: undefined }, 'names, but nothing of the objects without search permission')
    t.same(names(await alice.list(listable, 'readdir')), ['.', '..', 'x'])
  })
})

t.test('a directory of 1,000 entries is listed whole over several connections at once', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 1000; i++) tree[`f${i}`] = ''
  await withNfs(t, [tree as Tree], async ({ root, connect }) => {
    const clients: NfsClient[] = [await connect(), await connect(), await connect()]
    const lists = await Promise.all(clients.map((client) => client.list(root, 'readdirplus', 65536)))
    for (const list of lists) t.equal(new Set(list.map(({ name }) => name)).size, 1002)
  })
})

function names(entries: readonly Entry[]): string[] {
  return entries.map(({ name }) => name).sort()
}
