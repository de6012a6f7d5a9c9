import { writeFileSync } from 'node:fs'
import t from 'tap'
import { symlinkAt } from '../../../overlay-core/sys/dir.ts'
import { O_NOFOLLOW, O_PATH, XATTR_CREATE, XATTR_REPLACE } from '../../../overlay-core/sys/flags.ts'
import { openAt, openRoot } from '../../../overlay-core/sys/open.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../../../overlay-core/sys/xattr.ts'
import { held, needsRoot, scratchDir } from './scratch-dir.ts'

t.test('attributes of a file are set, read, listed and removed by any bytes', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(Buffer.from(`${path}/\xff`, 'latin1'), '')
  const attr = 'user.odd \xff name'
  const value = Buffer.from([0, 255, 0])
  t.equal(await getXattr(fd, '\xff', attr), undefined)
  await setXattr(fd, '\xff', attr, value)
  await setXattr(fd, '\xff', 'user.empty', Buffer.alloc(0))
  t.same(await getXattr(fd, '\xff', attr), new Uint8Array(value))
  t.same(await getXattr(fd, '\xff', 'user.empty'), new Uint8Array(0))
  t.same((await listXattr(fd, '\xff')).filter((name) => name.startsWith('user.')).sort(), ['user.empty', attr])
  await removeXattr(fd, '\xff', attr)
  t.equal(await getXattr(fd, '\xff', attr), undefined)
  await t.rejects(removeXattr(fd, '\xff', attr), { code: 'ENODATA', op: 'removexattr' })
})

t.test('XATTR_CREATE and XATTR_REPLACE check whether the attribute exists', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await t.rejects(setXattr(fd, 'file', 'user.a', Buffer.from('1'), XATTR_REPLACE), { code: 'ENODATA' })
  await setXattr(fd, 'file', 'user.a', Buffer.from('1'), XATTR_CREATE)
  await t.rejects(setXattr(fd, 'file', 'user.a', Buffer.from('2'), XATTR_CREATE), { code: 'EEXIST', op: 'setxattr' })
  await setXattr(fd, 'file', 'user.a', Buffer.from('3'), XATTR_REPLACE)
  t.same(await getXattr(fd, 'file', 'user.a'), new Uint8Array([0x33]))
})

t.test('values and lists longer than usual are complete', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  const value = new Uint8Array(2500).fill(7)
  await setXattr(fd, 'file', 'user.long', value)
  t.same(await getXattr(fd, 'file', 'user.long'), value)
  await removeXattr(fd, 'file', 'user.long')
  const names = Array.from({ length: 10 }, (_, i) => `user.${'n'.repeat(200)}${i}`)
  for (const name of names) await setXattr(fd, 'file', name, Buffer.alloc(0))
  t.same((await listXattr(fd, 'file')).filter((name) => name.startsWith('user.')).sort(), names)
})

t.test('an open descriptor gives its own attributes', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  const file = held(t, await openAt(fd, 'file', O_PATH))
  await setXattr(file, '', 'user.a', Buffer.from('self'))
  t.same(await getXattr(fd, 'file', 'user.a'), new Uint8Array(Buffer.from('self')))
  t.ok((await listXattr(file, '')).includes('user.a'))
  await removeXattr(file, '', 'user.a')
  t.equal(await getXattr(file, '', 'user.a'), undefined)
})

t.test('attributes of a symlink are its own', { skip: needsRoot }, async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await symlinkAt(Buffer.from('file'), fd, 'link')
  await setXattr(fd, 'link', 'trusted.a', Buffer.from('link'))
  t.equal(await getXattr(fd, 'file', 'trusted.a'), undefined)
  const link = held(t, await openAt(fd, 'link', O_PATH | O_NOFOLLOW))
  t.same(await getXattr(link, '', 'trusted.a'), new Uint8Array(Buffer.from('link')))
  await setXattr(link, '', 'trusted.b', Buffer.from('x'))
  t.same((await listXattr(fd, 'link')).filter((name) => name.startsWith('trusted.')).sort(), ['trusted.a', 'trusted.b'])
  await t.rejects(setXattr(fd, 'link', 'user.a', Buffer.from('x')), { code: 'EPERM' })
})

t.test('errors name the cause', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  await t.rejects(getXattr(fd, 'none', 'user.a'), { code: 'ENOENT', op: 'getxattr' })
  await t.rejects(getXattr(fd, '../x', 'user.a'), { code: 'EINVAL' })
  await t.rejects(getXattr(fd, 'file', 'user.a\0'), { code: 'EINVAL' })
  await t.rejects(setXattr(fd, 'file', 'user.a', new Uint8Array(70_000)), { code: 'ENOSPC' })
  await t.rejects(setXattr(fd, 'file', `user.${'n'.repeat(300)}`, Buffer.alloc(1)), { code: 'ERANGE' })
  await t.rejects(setXattr(fd, 'file', 'nonsense', Buffer.alloc(1)), { code: 'EOPNOTSUPP' })
  t.equal(await getXattr(fd, 'file', 'nonsense'), undefined)
})

t.test('a file system without attributes reports none', async (t) => {
  const proc = held(t, await openAt(held(t, await openRoot('/proc')), 'self', O_PATH | O_NOFOLLOW))
  t.equal(await getXattr(proc, '', 'user.a'), undefined)
  t.same(await listXattr(proc, ''), [])
})
