import { join } from 'node:path'
import t from 'tap'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote, type Shell } from './helpers/shell.ts'
import { davTree, differences, type Snapshot, snapshot, unchangedPart, viewFields } from './helpers/snapshot.ts'

t.setTimeout(7_200_000)
const scratch = makeScratch(t)
// A bind mount shows /usr without what may be mounted below it, as an overlay does.
await scratch.sh('mkdir usr && mount --bind /usr usr && mount -o remount,bind,ro usr')
const usr = join(scratch.path, 'usr')

/** For a walk over all of /usr in emulation, on a machine that does other things too. */
const LONG_MS = 1_500_000

/** /usr itself: somebody may change it meanwhile (apt does), so that what is seen of it counts only where it is the same before and after. */
const usrNow = () => snapshot(scratch.sh, usr, { contents: false, changing: true })

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

/** The checksums of files of a tree, by path; those that cannot be read have none. */
async function checksums(sh: Shell, paths: readonly string[]): Promise<Map<string, string>> {
  const sums = new Map<string, string>()
  for (let at = 0; at < paths.length; at += 500) {
    const files = paths
      .slice(at, at + 500)
      .map(quote)
      .join(' ')
    const text = await sh(`sha256sum -z -- ${files} 2> /dev/null || true`, 300_000)
    for (const line of text.split('\0').slice(0, -1)) sums.set(line.slice(66), line.slice(0, 64))
  }
  return sums
}

/** The sums of the files that were not changed, as lines. */
function linesOf(sums: ReadonlyMap<string, string>, paths: readonly string[], expected: Snapshot): string[] {
  return paths.filter((path) => expected.has(path)).map((path) => `${sums.get(path) ?? 'unreadable'} ${path}`)
}

await scratch.sh(`mkdir upper work && touch -r ${usr} upper`)
const original = await usrNow()
const paths = sample(original)
const sums = await checksums(hostShell(usr), paths)
const overlayd = await startOverlayd(scratch, {
  lowerdir: [usr],
  upperdir: join(scratch.path, 'upper'),
  workdir: join(scratch.path, 'work'),
})
const client = await bootKernelClient(scratch)
const nfs = await mountNfs(client, overlayd.nfs, '/mnt/usr')

t.test('find lists the names of /usr over NFS, with the same attributes', async (t) => {
  const fields = viewFields.filter((field) => field !== 'firstLink')
  const all = await snapshot(client.sh, nfs.path, { contents: false, timeoutMs: LONG_MS, changing: true })
  const { expected, seen } = unchangedPart(original, await usrNow(), all)
  t.ok(expected.size > 0.5 * original.size, `${expected.size} of ${original.size} names are compared`)
  t.same(differences(expected, seen, fields), [])
})

t.test('files of /usr have the same checksums over NFS', async (t) => {
  const all = await checksums(nfs.sh, paths)
  const { expected } = unchangedPart(original, await usrNow(), original)
  const seen = linesOf(all, paths, expected)
  t.ok(seen.length > 20, `${seen.length} of ${paths.length} files are compared`)
  t.same(seen, linesOf(sums, paths, expected))
})

t.test('find lists the files and directories of /usr over WebDAV, with the same checksums', async (t) => {
  const davfs = await mountDavfs(scratch, 'davfs', overlayd.webdavUrl, 600)
  try {
    // Symlinks show as what they lead to, and some lead around in circles.
    const toDirectories = (await hostShell(usr)("find . -type l -xtype d -printf '%P\\0'")).split('\0').slice(0, -1)
    const options = { contents: false, without: toDirectories, timeoutMs: LONG_MS, changing: true }
    const all = await snapshot(scratch.sh, davfs.path, options)
    const seenSums = await checksums(hostShell(davfs.path), paths)
    const { expected, seen } = unchangedPart(original, await usrNow(), davTree(all, original))
    t.ok(expected.size > 0.5 * original.size, `${expected.size} of ${original.size} names are compared`)
    t.same(differences(davTree(expected, original), seen, ['type', 'size']), [])
    t.same(linesOf(seenSums, paths, expected), linesOf(sums, paths, expected))
  } finally {
    await davfs.unmount()
  }
})
