import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Finding } from '../helpers/project-quota-program.ts'
import { fillGuestRoot } from './helpers/guest-disk.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(1_800_000)

const scratch = makeScratch(t)
const PROGRAM = '/overlayd/dist/test/helpers/project-quota-program.js'

/** The disks of a guest: an ext4 that contains the server, and an empty xfs, both with project quotas. */
function makeDisks(): string {
  const root = join(scratch.path, 'root')
  mkdirSync(root)
  fillGuestRoot(root, { 'lower/low': 'x'.repeat(1024 * 1024), 'lower/sub/a': 'A', 'ext4/.keep': '', 'xfs/.keep': '' })
  const [ext4, xfs] = ['ext4.img', 'xfs.img'].map((name) => join(scratch.path, name)) as [string, string]
  execFileSync('truncate', ['-s', '448M', ext4])
  execFileSync('truncate', ['-s', '320M', xfs])
  execFileSync('mkfs.ext4', ['-q', '-O', 'quota,project', '-d', root, ext4])
  execFileSync('mkfs.xfs', ['-q', xfs])
  return `${ext4} ${xfs}`
}

t.test('views that the file system limits, on ext4 and xfs', async (t) => {
  // This kernel may lack the quotas of ext4 and xfs; that of the guest has them.
  const { sh } = await bootKernelClient(scratch, { env: { KERNEL_CLIENT_DISKS: makeDisks() }, timeoutMs: 240_000 })
  await sh(
    'mount -t ext4 -o prjquota,noatime /dev/vda /mnt && mount -t xfs -o prjquota,noatime /dev/vdb /mnt/xfs',
    60_000,
  )
  await sh('cd /mnt && mount -o bind /dev dev && mount -t proc proc proc && mount -t tmpfs tmp tmp')
  const printed = await sh(`PATH=/usr/bin:/bin chroot /mnt /bin/node ${PROGRAM} /ext4 /xfs`, 1_500_000)
  const findings = JSON.parse(printed) as Finding[]
  for (const { what, found, wanted } of findings) t.same(found, wanted, what)
  t.ok(findings.length > 60, `${findings.length} checks`)
})
