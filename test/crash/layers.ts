import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { FileType } from '../../overlay-core/index.ts'
import * as native from '../differential/native.ts'

const OLD = { sec: 1_000_000_000, nsec: 123_456_789 }
const ALICE = 1000
/** user::rw- user:1001:r-- group::r-- mask::r-- other::r--, as the kernel stores it. */
const ACL = Buffer.from(
  '0200000001000600ffffffff02000400e903000004000400ffffffff10000400ffffffff20000400ffffffff',
  'hex',
)
/** cap_net_raw+ep, version 2. */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')
export const DEFAULT_ACL = Buffer.from(
  '0200000001000700ffffffff02000700e903000004000500ffffffff10000700ffffffff20000500ffffffff',
  'hex',
)

/** Paths below which the lowers lie, topmost first. */
export function makeLowers(dir: string): string[] {
  const top = `${dir}/lower0`
  const bottom = `${dir}/lower1`
  fillBottom(bottom)
  fillTop(top)
  return [top, bottom]
}

/** An empty upper and workdir. */
export function makeUpper(dir: string): void {
  mkdirSync(`${dir}/upper`, { recursive: true, mode: 0o755 })
  mkdirSync(`${dir}/work`, { recursive: true, mode: 0o755 })
}

function fillBottom(root: string): void {
  for (const dir of ['', '/dir', '/dir/deep', '/dir/empty', '/merged', '/merged/sub', '/other', '/hard']) {
    native.mkdir(root + dir, 0o755)
  }
  file(`${root}/file`, 'a lower file', 0o640)
  file(`${root}/plain`, 'plain content')
  file(`${root}/dir/file`, 'in a directory')
  file(`${root}/dir/deep/leaf`, 'deep down', 0o600)
  file(`${root}/merged/low1`, 'from the bottom')
  file(`${root}/merged/sub/x`, 'x of the bottom')
  file(`${root}/gone`, 'hidden by a whiteout')
  file(`${root}/other/o`, 'o')
  rich(`${root}/rich`)
  file(`${root}/hard/one`, 'one object, three names', 0o644)
  native.link(`${root}/hard/one`, `${root}/hard/two`)
  native.link(`${root}/hard/one`, `${root}/dir/three`)
  file(`${root}/hard/pair`, 'another with two names')
  native.link(`${root}/hard/pair`, `${root}/other/pair`)
  native.symlink(Buffer.from('some/target'), `${root}/symlink`)
  native.mknod(`${root}/fifo`, FileType.fifo | 0o622, 0, 0)
  native.mknod(`${root}/device`, FileType.character | 0o600, 5, 1)
  native.mkdir(`${root}/shared`, 0o2775)
  native.chown(`${root}/shared`, ALICE, 2000)
  native.chmod(`${root}/shared`, 0o2775)
  native.setxattr(`${root}/shared`, 'system.posix_acl_default', DEFAULT_ACL)
  age(root, [
    'symlink',
    'fifo',
    'device',
    'shared',
    'dir/deep',
    'dir/empty',
    'dir',
    'merged/sub',
    'merged',
    'other',
    'hard',
    '',
  ])
}

function fillTop(root: string): void {
  for (const dir of ['', '/merged', '/merged/sub', '/dir']) native.mkdir(root + dir, 0o755)
  native.chown(`${root}/merged`, ALICE, 2000)
  file(`${root}/merged/low0`, 'from the top')
  file(`${root}/merged/sub/y`, 'y of the top')
  file(`${root}/dir/top`, 'only here')
  native.whiteout(`${root}/gone`)
  age(root, ['merged/sub', 'merged', 'dir', ''])
}

function file(path: string, content: string, mode = 0o644): void {
  const fd = openSync(path, 'wx', mode)
  writeSync(fd, content)
  closeSync(fd)
  native.chown(path, ALICE, 2000)
  native.chmod(path, mode)
  native.utimes(path, OLD, OLD)
}

/** A sparse file with extended attributes, an ACL, capabilities. */
function rich(path: string): void {
  file(path, '', 0o755)
  const fd = openSync(path, 'r+')
  ftruncateSync(fd, 600_000)
  writeSync(fd, Buffer.alloc(5000, 'r'), 0, 5000, 0)
  writeSync(fd, Buffer.alloc(5000, 's'), 0, 5000, 400_000)
  closeSync(fd)
  native.setxattr(path, 'user.note', Buffer.from('of the user'))
  native.setxattr(path, 'trusted.other', Buffer.from('of root'))
  native.setxattr(path, 'system.posix_acl_access', ACL)
  native.setxattr(path, 'security.capability', CAPABILITY)
  native.utimes(path, OLD, OLD)
}

function age(root: string, names: readonly string[]): void {
  for (const name of names) native.utimes(name === '' ? root : `${root}/${name}`, OLD, OLD)
}
