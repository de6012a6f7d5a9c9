import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { quote } from './helpers/shell.ts'

const scratch = makeScratch(t)
const dir = join(scratch.path, 'small')

t.test('a full disk is 507 with the precondition of RFC 4331, loses nothing and leaves nothing behind', async (t) => {
  await scratch.sh(`mkdir -p ${quote(dir)} && mount -t tmpfs -o size=2m none ${quote(dir)}`)
  scratch.defer(() => scratch.sh(`umount ${quote(dir)}`).then(() => undefined))
  await scratch.sh(`cd ${quote(dir)} && mkdir lower upper work && echo old > lower/f`)
  const overlayd = await startOverlayd(scratch, {
    lowerdir: [join(dir, 'lower')],
    upperdir: join(dir, 'upper'),
    workdir: join(dir, 'work'),
  })
  const put = (name: string, bytes: number) =>
    fetch(`${overlayd.webdavUrl}${name}`, { method: 'PUT', body: randomBytes(bytes) })
  const refused = await put('f', 4 * 1024 * 1024)
  t.equal(refused.status, 507)
  t.match(await refused.text(), /<D:error xmlns:D="DAV:"><D:sufficient-disk-space\/><\/D:error>/)
  t.equal(await (await fetch(`${overlayd.webdavUrl}f`)).text(), 'old\n')
  t.same(await readdir(join(dir, 'upper')), [])
  t.same(await readdir(join(dir, 'work/work')), [])
  t.equal((await put('filler', 1024 * 1024)).status, 201)
  const copied = await fetch(`${overlayd.webdavUrl}filler`, {
    method: 'COPY',
    headers: { destination: `${overlayd.webdavUrl}again` },
  })
  t.equal(copied.status, 507)
  t.same(await readdir(join(dir, 'upper')), ['filler'])
  t.equal((await put('small', 1024)).status, 201, 'what fits is taken')
  t.equal((await readFile(join(dir, 'upper/small'))).length, 1024)
  await overlayd.stop()
  await rm(join(dir, 'upper'), { recursive: true })
})
