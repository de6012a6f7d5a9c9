import { join } from 'node:path'
import t from 'tap'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote, type Shell } from './helpers/shell.ts'
import { davTree, differences, type Snapshot, snapshot, viewFields } from './helpers/snapshot.ts'

t.setTimeout(1_200_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch)
// A bind mount shows /usr without what may be mounted below it, as an overlay does.
await scratch.sh('mkdir usr upper work && mount --bind /usr usr && mount -o remount,bind,ro usr && touch -r usr upper')
const usr = join(scratch.path, 'usr')
const overlayd = await startOverlayd(scratch, {
  lowerdir: [usr],
  upperdir: join(scratch.path, 'upper'),
  workdir: join(scratch.path, 'work'),
})
const original = await snapshot(scratch.sh, usr, { contents: false })
const client = await booting
const nfs = await mountNfs(client, overlayd.nfs, '/mnt/usr')

/** Files for checksums: every 40th of those up to 1 MiB, and the two largest up to 32 MiB. */
function sample(tree: Snapshot): string[] {
  const files = [...tree].filter(([path, { type }]) => type === 'f' && !path.includes('\n')).sort()
  const size = ([, entry]: (typeof files)[number]) => Number(entry.size)
  const small = files.filter((file) => size(file) <= 2 ** 20).filter((_, at) => at % 40 === 0)
  const large = files
    .filter((file) => size(file) <= 2 ** 25)
    .sort((a, b) => size(b) - size(a))
    .slice(0, 2)
  return [...small, ...large].map(([path]) => path)
}

/** The checksums of files of a tree, one per line. */
async function checksums(sh: Shell, paths: readonly string[]): Promise<string> {
  let sums = ''
  for (let at = 0; at < paths.length; at += 500) {
    sums += await sh(
      `sha256sum -- ${paths
        .slice(at, at + 500)
        .map(quote)
        .join(' ')}`,
      300_000,
    )
  }
  return sums
}

const paths = sample(original)
const expectedSums = await checksums(hostShell(usr), paths)

t.test(`find lists the ${original.size} names of /usr over NFS, with the same attributes`, async (t) => {
  const seen = await snapshot(client.sh, nfs.path, { contents: false, timeoutMs: 600_000 })
  t.equal(seen.size, original.size)
  const fields = viewFields.filter((field) => field !== 'firstLink')
  t.same(differences(original, seen, fields), [])
})

t.test(`${paths.length} files of /usr have the same checksums over NFS`, async (t) => {
  t.equal(await checksums(nfs.sh, paths), expectedSums)
})

t.test('find lists the files and directories of /usr over WebDAV, with the same checksums', async (t) => {
  const davfs = await mountDavfs(scratch, 'davfs', overlayd.webdavUrl, 600)
  const sh = hostShell(davfs.path)
  // Symlinks show as what they lead to, and some lead around in circles.
  const toDirectories = (await hostShell(usr)("find . -type l -xtype d -printf '%P\\0'")).split('\0').slice(0, -1)
  const seen = await snapshot(scratch.sh, davfs.path, { contents: false, without: toDirectories, timeoutMs: 600_000 })
  t.same(differences(davTree(original), davTree(seen, original), ['type', 'size']), [])
  t.equal(await checksums(sh, paths), expectedSums)
})
