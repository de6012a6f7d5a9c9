import t from 'tap'
import { type FaultPoints, setFaultPoints } from '../../../../overlay-core/sys/fault.ts'
import { STATUS } from '../../../helpers/nfs-client.ts'
import { withNfs } from '../nfs-fixture.ts'

const EIO = 5
const SYNC = '127.0.0.1(rw,no_root_squash,insecure,sync)'
const ASYNC = '127.0.0.1(rw,no_root_squash,insecure,async)'

/** Watches what is made durable while `work` runs; `errno` is what fsync says. */
async function watchSyncs<T>(
  work: () => Promise<T>,
  errno = 0,
): Promise<{ result: T; syncs: number; running: number }> {
  let syncs = 0
  let running = 0
  const points: FaultPoints = {
    before(op) {
      if (op !== 'fsync' && op !== 'syncfs') return 0
      syncs++
      running++
      return errno
    },
    after(op) {
      if (op === 'fsync' || op === 'syncfs') running--
    },
  }
  setFaultPoints(points)
  try {
    return { result: await work(), syncs, running }
  } finally {
    setFaultPoints(undefined)
  }
}

t.test('on a sync export every change is durable before the reply', async (t) => {
  await withNfs(
    t,
    [{ 'dir/file': 'x', 'dir/old': 'y', 'sub/': {} }],
    async ({ client, root }) => {
      const dir = await client.walk(root, 'dir')
      const sub = await client.walk(root, 'sub')
      const file = await client.walk(root, 'dir/file')
      const durable = async (what: string, change: () => Promise<{ status: number }>) => {
        const { result, syncs, running } = await watchSyncs(change)
        t.equal(result.status, STATUS.OK, what)
        t.ok(syncs > 0, `${what}: ${syncs} syncs`)
        t.equal(running, 0, `${what}: all of them ended before the reply`)
      }
      await durable('SETATTR', () => client.setattr(file, { mode: 0o600 }))
      await durable('SETATTR of a directory', () => client.setattr(dir, { mode: 0o700 }))
      await durable('CREATE', () => client.create(dir, 'new'))
      await durable('CREATE that empties', () => client.create(dir, 'new', { mode: 'unchecked', attr: { size: 0 } }))
      await durable('MKDIR', () => client.mkdir(dir, 'made'))
      await durable('SYMLINK', () => client.symlink(dir, 'link', 'target'))
      await durable('SETATTR of a symlink', async () =>
        client.setattr(await client.walk(dir, 'link'), { mtime: { sec: 1, nsec: 0 } }),
      )
      await durable('MKNOD', () => client.mknod(dir, 'fifo', 7))
      await durable('RENAME', () => client.rename(dir, 'new', sub, 'moved'))
      await durable('LINK', () => client.link(file, sub, 'file'))
      await durable('REMOVE', () => client.remove(dir, 'old'))
      await durable('RMDIR', () => client.rmdir(dir, 'made'))
      await durable('WRITE', () => client.write(file, 0, Buffer.from('data'), 2))
      await client.write(file, 0, Buffer.from('more'), 0)
      await durable('COMMIT', () => client.commit(file))
      const { syncs } = await watchSyncs(() => client.write(file, 0, Buffer.from('unstable'), 0))
      t.equal(syncs, 0, 'unstable data waits for its COMMIT')
      const looked = await watchSyncs(() => client.lookup(dir, 'file'))
      t.equal(looked.syncs, 0)
    },
    { rules: SYNC },
  )
})

t.test('what is new is made durable with the directories above it, once', async (t) => {
  await withNfs(
    t,
    [{ 'a/b/c/file': 'x' }],
    async ({ client, root }) => {
      const dir = await client.walk(root, 'a/b/c')
      const first = await watchSyncs(() => client.create(dir, 'one'))
      t.equal(
        first.syncs,
        8,
        'c, b, a and the root: copied up for this; the new identity and handle log, each with its directory',
      )
      const second = await watchSyncs(() => client.create(dir, 'two'))
      t.equal(second.syncs, 2)
      const gone = await watchSyncs(() => client.remove(dir, 'two'))
      t.equal(gone.syncs, 1, 'a removal leaves no handle')
    },
    { rules: SYNC },
  )
})

t.test('requests in flight share their fsyncs', async (t) => {
  await withNfs(
    t,
    [{ 'dir/': {}, file: 'x' }],
    async ({ client, root }) => {
      const dir = await client.walk(root, 'dir')
      const file = await client.walk(root, 'file')
      await client.create(dir, 'first')
      const names = Array.from({ length: 100 }, (_, i) => `name${i}`)
      const created = await watchSyncs(() => Promise.all(names.map((name) => client.create(dir, name))))
      t.ok(created.result.every(({ status }) => status === STATUS.OK))
      t.ok(created.syncs < 100, `${created.syncs} syncs for 100 names`)
      const block = Buffer.alloc(4096, 1)
      const written = await watchSyncs(() => Promise.all(names.map((_, i) => client.write(file, 4096 * i, block, 2))))
      t.ok(written.result.every(({ status }) => status === STATUS.OK))
      t.ok(written.syncs < 100, `${written.syncs} syncs for 100 blocks`)
    },
    { rules: SYNC },
  )
})

t.test('an async export, and a volatile overlay, never wait for the disk', async (t) => {
  for (const settings of [{ rules: ASYNC }, { rules: SYNC, options: ',volatile' }]) {
    await withNfs(
      t,
      [{ file: '' }],
      async ({ client, root }) => {
        const { syncs } = await watchSyncs(async () => {
          const file = (await client.create(root, 'new')).handle!
          t.match(await client.write(file, 0, Buffer.from('data'), 2), { status: STATUS.OK, committed: 2 })
          t.equal((await client.commit(file)).status, STATUS.OK)
          t.equal((await client.rename(root, 'new', root, 'newer')).status, STATUS.OK)
        })
        t.equal(syncs, 0)
      },
      settings,
    )
  }
})

t.test(
  'when the kernel cannot write the request fails and the write verifier changes, once for each failure',
  async (t) => {
    await withNfs(
      t,
      [{ file: 'x' }],
      async ({ client, root }) => {
        const file = await client.walk(root, 'file')
        const before = (await client.write(file, 0, Buffer.from('data'), 0)).verifier
        t.equal((await client.commit(file)).verifier, before)
        const committed = await watchSyncs(() => client.commit(file), EIO)
        t.equal(committed.result.status, STATUS.IO)
        const after = (await client.write(file, 0, Buffer.from('data'), 0)).verifier
        t.not(after, before)
        t.equal((await client.commit(file)).verifier, after, 'and stays')
        const created = await watchSyncs(() => client.create(root, 'new'), EIO)
        t.equal(created.result.status, STATUS.IO, 'nor is a name promised')
        t.not((await client.commit(file)).verifier, after)
      },
      { rules: SYNC },
    )
  },
)
