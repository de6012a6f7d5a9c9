import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { configuration } from '../server/course.ts'
import { start } from '../server/launch.ts'
import { viewOrders } from '../server/view-orders.ts'
import { makeScratch } from './helpers/scratch.ts'

// The views are on an ext4 file system in a file. Copied just after an answer, that file is what a disk holds when the power goes at that moment.

t.setTimeout(240_000)
const scratch = makeScratch(t)
const { sh } = scratch

/** A server whose template has its views on `disk`, below `dir`. */
async function serve(dir: string, disk: string) {
  const ends: (() => unknown)[] = []
  mkdirSync(join(scratch.path, dir, 'material'), { recursive: true })
  writeFileSync(join(scratch.path, dir, 'material', 'welcome.txt'), 'welcome')
  const text = configuration({
    clients: '127.0.0.0/8(rw,no_root_squash,insecure)',
    more: 'create = true\nowner = "0:0"',
  })
  const file = join(scratch.path, dir, 'o.toml')
  writeFileSync(file, text.replace('"views"', JSON.stringify(join(scratch.path, disk, 'views'))))
  const server = await start({ teardown: (end) => void ends.push(end) }, ['serve', '--config', file])
  const nfs = await NfsClient.connect(server.nfsPort as number)
  const ask = await viewOrders(server, join(scratch.path, dir, 'state'))
  const stop = async () => {
    await nfs.close()
    await server.stop()
    for (const end of ends) await end()
  }
  return { nfs, ask, stop, log: () => server.stderr() }
}

t.test('a view is on the disk with the first promise in it, and never half', async (t) => {
  await sh(`
    mkdir before disk after
    truncate -s 64M image
    mkfs.ext4 -q -E lazy_itable_init=0 image
    mount -o loop image disk
    mkdir disk/views
    sync -f disk`)
  const server = await serve('before', 'disk')
  try {
    const { nfs, ask } = server
    const roots = new Map<string, Buffer>()
    for (const name of ['promised', 'used', 'mounted']) roots.set(name, await nfs.mount(`/course/${name}`))
    await ask({ verb: 'create', view: 'course/commanded' })
    const used = (await nfs.create(roots.get('used')!, 'file')).handle!
    const log = readFileSync(join(scratch.path, 'disk/views/views.log'), 'latin1')
    t.notOk(log.includes('"mounted"'), 'nothing was promised in it')
    const made = await nfs.create(roots.get('promised')!, 'file')
    t.equal(made.status, STATUS.OK)
    t.equal((await nfs.write(made.handle!, 0, Buffer.from('durable'), 2)).status, STATUS.OK)
    await sh('cp image image.after; mount -o loop image.after after; cp -r before later')
    const next = await serve('later', 'after')
    try {
      const names = (await next.ask({ verb: 'list' })).map(({ name }) => name)
      for (const name of ['promised', 'used', 'commanded']) t.ok(names.includes(name), name)
      t.equal((await next.nfs.read(made.handle!, 0, 20)).data.toString(), 'durable')
      t.equal((await next.nfs.getattr(used)).status, STATUS.OK)
      const lost = await next.nfs.getattr(roots.get('mounted')!)
      t.ok(
        lost.status === STATUS.OK || lost.status === STATUS.STALE,
        `the handle of a view without promises: ${lost.status}`,
      )
      const again = await next.nfs.mount('/course/mounted')
      t.equal((await next.nfs.lookup(again, 'welcome.txt')).status, STATUS.OK, 'and it can be used again')
      t.notMatch(next.log(), /belongs to no view|cannot be opened/)
    } finally {
      await next.stop()
      await sh('umount after')
    }
  } finally {
    await server.stop()
    await sh('umount disk')
  }
})
