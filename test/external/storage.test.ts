import { join } from 'node:path'
import t from 'tap'
import { type MountedStorage, mountStorage, type StorageKind } from '../helpers/storage.ts'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountKernelOverlay } from './helpers/kernel-overlay.ts'
import { type Layers, makeLayers, watchLowers } from './helpers/layers.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { changeTree } from './helpers/operations.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote } from './helpers/shell.ts'
import { davFields, davTree, differences, hideTimesSince, snapshot } from './helpers/snapshot.ts'

t.setTimeout(600_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch)
const layers = await makeLayers(scratch, 'layers', { names: 'bytes', archive: true, small: true })
const startSec = Math.floor(Date.now() / 1000)
const lowersChanged = await watchLowers(scratch, layers)

/** Upper and workdir on a storage that can do less than the kernel's overlay asks for. */
async function layersOn(kind: StorageKind): Promise<[Layers, MountedStorage]> {
  const storage = await mountStorage(kind, scratch.path)
  scratch.defer(() => storage.unmount())
  const [upperdir, workdir] = [join(storage.dir, 'upper'), join(storage.dir, 'work')]
  await scratch.sh(`mkdir ${quote(upperdir)} ${quote(workdir)}; touch -r ${quote(layers.upperdir)} ${quote(upperdir)}`)
  return [{ lowerdir: layers.lowerdir, upperdir, workdir }, storage]
}

t.test(
  'through NFS an upper without attributes shows the tree that the kernel overlay has after the same changes',
  async (t) => {
    // A name of 255 bytes cannot be hidden by a file whose name is four bytes longer.
    const changes = changeTree.replace('mv longest* longest; ', '')
    t.not(changes, changeTree)
    const reference = await mountKernelOverlay(scratch, 'reference', layers)
    await hostShell(reference.path)(changes)
    const [poor] = await layersOn('ramfs')
    let overlayd = await startOverlayd(scratch, poor)
    const nfs = await mountNfs(await booting, overlayd.nfs, '/mnt/overlay')
    const expected = hideTimesSince(await snapshot(scratch.sh, reference.path), startSec)
    const seen = async () => hideTimesSince(await snapshot((await booting).sh, nfs.path), startSec)
    await nfs.sh(changes, 300_000)
    t.same(differences(expected, await seen()), [])
    const inodes = await nfs.sh('find . -printf "%i %p\\n" | sort')
    await overlayd.stop()
    overlayd = await startOverlayd(scratch, poor, { nfsPort: overlayd.nfs.port })
    await nfs.remount()
    t.same(differences(expected, await seen()), [], 'and after a restart')
    t.equal(await nfs.sh('find . -printf "%i %p\\n" | sort'), inodes, 'with every number that a file had')
    await nfs.unmount()
    await overlayd.stop()
    await reference.unmount()
  },
)

t.test('through davfs2 an upper on exFAT takes changes, and shows them after it was mounted anew', async (t) => {
  const [poor, storage] = await layersOn('exfat')
  let overlayd = await startOverlayd(scratch, poor)
  let davfs = await mountDavfs(scratch, 'davfs', overlayd.webdavUrl)
  await hostShell(davfs.path)(`
    echo one > new && echo two >> new; echo over > plain/text; mkdir made made/deeper; cp plain/numbers made/deeper/copy
    mv merged renamed; echo inside > renamed/inside; rm -r kind opaque; mkdir opaque; echo fresh > opaque/fresh
    mv plain/numbers made/numbers; rm many/entry-00007; rm top-file`)
  await davfs.unmount()
  await overlayd.stop()
  await storage.cycle()
  overlayd = await startOverlayd(scratch, poor)
  davfs = await mountDavfs(scratch, 'davfs-again', overlayd.webdavUrl)
  const sh = hostShell(davfs.path)
  t.equal(
    await sh('cat new plain/text renamed/inside renamed/below/base opaque/fresh; ls made/deeper'),
    'one\ntwo\nover\ninside\nbase\nfresh\ncopy\n',
  )
  t.equal(
    await sh(
      'ls opaque many | grep -c entry; ls -d kind merged top-file plain/numbers 2>&1 | grep -c "No such file" || :',
    ),
    '199\n4\n',
  )
  const lowers = await mountKernelOverlay(scratch, 'lowers', { lowerdir: layers.lowerdir })
  t.equal(await sh('sha256sum < made/numbers'), await hostShell(lowers.path)('sha256sum < plain/numbers'))
  const expected = await snapshot(scratch.sh, join(lowers.path, 'tree'))
  const seen = await snapshot(scratch.sh, join(davfs.path, 'tree'))
  t.same(differences(davTree(expected), davTree(seen, expected), davFields), [])
  await lowers.unmount()
  t.same(await lowersChanged(), [])
})
