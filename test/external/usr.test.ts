import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mountDavfs } from './helpers/davfs.ts'
import { bootKernelClient, type KernelClient } from './helpers/kernel-client.ts'
import { mountNfs, type NfsMount } from './helpers/nfs-mount.ts'
import { type Overlayd, startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote, type Shell, ShellError } from './helpers/shell.ts'
import { davTree, differences, everyField, type Snapshot, snapshot, viewFields } from './helpers/snapshot.ts'

t.setTimeout(7_200_000)
const scratch = makeScratch(t)
// A bind mount shows /usr without what may be mounted below it, as an overlay does.
await scratch.sh('mkdir usr && mount --bind /usr usr && mount -o remount,bind,ro usr')
const usr = join(scratch.path, 'usr')

/** For a walk over all of /usr in emulation, on a machine that does other things too. */
const LONG_MS = 1_500_000

/** How often the comparison is made when /usr changes under it. */
const TRIES = 4

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

/** /usr as it was at a moment, and a server that has shown it since. */
interface Served {
  readonly original: Snapshot
  readonly paths: readonly string[]
  readonly sums: string
  readonly overlayd: Overlayd
  readonly nfs: NfsMount
  readonly client: KernelClient
}

/** /usr cannot even be listed, as names go away meanwhile. */
class UsrChanged extends Error {}

/** A listing, or checksums, of /usr itself. @throws UsrChanged */
async function ofUsr<T>(look: Promise<T>): Promise<T> {
  return await look.catch((error) => {
    throw error instanceof ShellError ? new UsrChanged(error.message) : error
  })
}

let served = 0

async function serve(): Promise<Served> {
  const layers = join(scratch.path, `layers-${served}`)
  await scratch.sh(`mkdir -p ${layers}/upper ${layers}/work && touch -r ${usr} ${layers}/upper`)
  const original = await ofUsr(snapshot(scratch.sh, usr, { contents: false }))
  const paths = sample(original)
  const sums = await ofUsr(checksums(hostShell(usr), paths))
  const overlayd = await startOverlayd(scratch, {
    lowerdir: [usr],
    upperdir: join(layers, 'upper'),
    workdir: join(layers, 'work'),
  })
  const client = await bootKernelClient(scratch)
  const nfs = await mountNfs(client, overlayd.nfs, `/mnt/usr-${served++}`)
  return { original, paths, sums, overlayd, nfs, client }
}

let current: Promise<Served> | undefined

/**
 * What `look` finds in /usr as it is served. Somebody may change /usr meanwhile (apt does): whatever was found then says nothing, so that everything is made
 * anew and looked at again.
 */
async function unchanged<T>(t: Test, look: (served: Served) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    current ??= serve()
    const [outcome] = await Promise.allSettled([current.then(look)])
    const failure = outcome.status === 'rejected' ? outcome.reason : undefined
    const changes = failure instanceof UsrChanged ? [failure.message] : await changesSince(await current)
    if (changes.length === 0) {
      if (outcome.status === 'rejected') throw failure
      return outcome.value
    }
    const [what] = changes
    if (tries === TRIES)
      throw new Error(`/usr could not be compared with itself ${TRIES} times; the last time: ${what}`)
    t.comment(`/usr changed meanwhile, once more: ${what}`)
    const old = await current.catch(() => undefined)
    current = undefined
    old?.client.stop()
    await old?.overlayd.stop()
  }
}

/** How /usr differs from what `served` began with. */
async function changesSince({ original }: Served): Promise<string[]> {
  try {
    const now = await ofUsr(snapshot(scratch.sh, usr, { contents: false }))
    return differences(original, now, listedFields)
  } catch (error) {
    if (!(error instanceof UsrChanged)) throw error
    return [error.message]
  }
}

/** What a listing without contents tells. */
const listedFields = everyField.filter((field) => !['hash', 'device', 'xattrs'].includes(field))

t.test('find lists the names of /usr over NFS, with the same attributes', async (t) => {
  const fields = viewFields.filter((field) => field !== 'firstLink')
  const { differing, names, seen } = await unchanged(t, async ({ original, nfs, client }) => {
    const seen = await snapshot(client.sh, nfs.path, { contents: false, timeoutMs: LONG_MS })
    return { differing: differences(original, seen, fields), names: original.size, seen: seen.size }
  })
  t.equal(seen, names, `${names} names`)
  t.same(differing, [])
})

t.test('files of /usr have the same checksums over NFS', async (t) => {
  const { paths, sums, seen } = await unchanged(t, async ({ nfs, paths, sums }) => {
    return { paths, sums, seen: await checksums(nfs.sh, paths) }
  })
  t.ok(paths.length > 20, `${paths.length} files`)
  t.equal(seen, sums)
})

t.test('find lists the files and directories of /usr over WebDAV, with the same checksums', async (t) => {
  const found = await unchanged(t, async ({ overlayd, original, paths, sums }) => {
    const davfs = await mountDavfs(scratch, `davfs-${served}`, overlayd.webdavUrl, 600)
    try {
      // Symlinks show as what they lead to, and some lead around in circles.
      const toDirectories = (await hostShell(usr)("find . -type l -xtype d -printf '%P\\0'")).split('\0').slice(0, -1)
      const options = { contents: false, without: toDirectories, timeoutMs: LONG_MS }
      const seen = await snapshot(scratch.sh, davfs.path, options)
      const differing = differences(davTree(original), davTree(seen, original), ['type', 'size'])
      return { differing, sums, seenSums: await checksums(hostShell(davfs.path), paths) }
    } finally {
      await davfs.unmount()
    }
  })
  t.same(found.differing, [])
  t.equal(found.seenSums, found.sums)
})
