import t from 'tap'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountKernelOverlay } from './helpers/kernel-overlay.ts'
import { makeLayers, watchLowers } from './helpers/layers.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { changeTree } from './helpers/operations.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell } from './helpers/shell.ts'
import { davFields, davTree, differences, insidesShown, snapshot } from './helpers/snapshot.ts'

t.setTimeout(1_200_000)
const scratch = makeScratch(t)
const client = await bootKernelClient(scratch)

const mountOptions: Record<string, readonly string[]> = {
  index: ['redirect_dir=on', 'index=on', 'metacopy=off'],
  plain: ['redirect_dir=on', 'index=off', 'metacopy=off'],
  metacopy: ['redirect_dir=on', 'index=on', 'metacopy=on'],
  userxattr: ['userxattr'],
}

/** Marks that the kernel leaves on such an upper. */
const marks: Record<string, readonly string[]> = {
  index: ['trusted.overlay.redirect', 'trusted.overlay.opaque', 'trusted.overlay.origin'],
  plain: ['trusted.overlay.redirect', 'trusted.overlay.opaque', 'trusted.overlay.origin'],
  metacopy: ['trusted.overlay.metacopy', 'trusted.overlay.redirect'],
  userxattr: ['user.overlay.opaque', 'user.overlay.origin'],
}

/** Further changes, to what the kernel left: to its redirects, whiteouts, opaque directories, copies and links. */
const moreChanges = `
mv deep/1/2/3/tree-again tree-home 2>/dev/null || mv one/2/3/tree-again tree-home
mv renamed renamed-again; mv renamed-again/beneath/base renamed-again/base
echo even more >> links/b; chmod 640 kind/pair-moved; rm links/pair-2
rm -r gone; echo file > gone; rm many/one; rmdir many; echo deep > four/5/6/7/8/9/file; chmod 600 modes/0755`

for (const [name, options] of Object.entries(mountOptions)) {
  t.test(
    `an upper that the kernel wrote with ${options} is served as the kernel shows it, and goes back to the kernel`,
    async (t) => {
      const layers = await makeLayers(scratch, name, { names: 'bytes', archive: true, small: true })
      const lowersChanged = await watchLowers(scratch, layers)
      const before = await mountKernelOverlay(scratch, `${name}-before`, layers, options)
      await hostShell(before.path)(changeTree)
      const written = await snapshot(scratch.sh, before.path)
      await before.unmount()
      // What this is about is really there.
      const upper = [...(await snapshot(scratch.sh, layers.upperdir)).values()]
      for (const mark of marks[name] ?? [])
        t.ok(
          upper.some(({ xattrs }) => xattrs.includes(mark)),
          `the upper has ${mark}`,
        )
      t.ok(
        upper.some(({ device }) => device === '0:0'),
        'the upper has a whiteout',
      )

      const overlayd = await startOverlayd(scratch, layers, { mountOptions: options })
      const nfs = await mountNfs(client, overlayd.nfs, `/mnt/${name}`)
      const served = await snapshot(client.sh, nfs.path)
      t.same(differences(written, served), [], 'by NFS')
      t.same(insidesShown(served), [])
      if (name === 'index' || name === 'metacopy') {
        const davfs = await mountDavfs(scratch, `${name}-davfs`, overlayd.webdavUrl)
        const seen = await snapshot(scratch.sh, davfs.path)
        t.same(differences(davTree(written), davTree(seen, written), davFields), [], 'by WebDAV')
        t.same(insidesShown(seen), [])
        await davfs.unmount()
      }

      await nfs.sh(moreChanges)
      await nfs.remount()
      const changed = await snapshot(client.sh, nfs.path)
      await nfs.unmount()
      await overlayd.stop()
      const after = await mountKernelOverlay(scratch, `${name}-after`, layers, options)
      t.same(differences(await snapshot(scratch.sh, after.path), changed), [], 'back in the kernel')
      await after.unmount()
      t.same(await lowersChanged(), [])
    },
  )
}
