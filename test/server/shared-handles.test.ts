import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FileType, type Inode, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import type { NfsClient } from '../helpers/nfs-client.ts'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, BIN, type Course, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

const USERS = { daemon: DAEMON.uid, bin: BIN.uid }

/** More of the material, below `sub`. */
function prepare(dir: string): void {
  for (const name of ['one', 'two', 'three']) {
    mkdirSync(join(dir, 'material', 'sub', name), { recursive: true })
    for (let i = 0; i < 20; i++) writeFileSync(join(dir, 'material', 'sub', name, `file-${i}`), `${name} ${i}`)
  }
}

/** The handles of everything in the view of a user, by their paths. */
async function walk(nfs: NfsClient, user: keyof typeof USERS): Promise<ReadonlyMap<string, Buffer>> {
  const client = nfs.as(USERS[user])
  const found = new Map<string, Buffer>()
  const below = async (dir: Buffer, path: string) => {
    for (const { name, handle } of await client.list(dir)) {
      if (name === '.' || name === '..' || handle === undefined) continue
      found.set(`${path}${name}`, handle)
      if (!name.includes('-') && !name.includes('.')) await below(handle, `${path}${name}/`)
    }
  }
  await below(await client.mount(`/course/${user}`), '')
  return found
}

/** The sizes of the logs of handles: that of all views together, and those of single views. */
function logs({ dir }: Course): { together: number; own: number } {
  const size = (...path: string[]) => {
    const file = join(dir, 'views', ...path, 'handles.log')
    return existsSync(file) ? statSync(file).size : 0
  }
  const own = readdirSync(join(dir, 'views'))
    .filter((id) => /^[0-9a-f]{16}$/.test(id))
    .reduce((sum, id) => sum + size(id, 'work'), 0)
  return { together: size('stack'), own }
}

t.test('views of a template record files of the material together, and a kill loses no handle', AS_ROOT, async (t) => {
  const all = await course(t, { prepare })
  const known = { daemon: await walk(all.nfs, 'daemon'), bin: new Map<string, Buffer>() as ReadonlyMap<string, Buffer> }
  t.equal(known.daemon.size, 66)
  const first = logs(all)
  t.ok(first.together > 66 * 40)
  known.bin = await walk(all.nfs, 'bin')
  t.same(logs(all), { together: first.together, own: 0 }, 'the second view adds nothing')
  const daemon = all.nfs.as(DAEMON.uid)
  const sub = known.daemon.get('sub') as Buffer
  t.equal((await daemon.rename(sub, 'one', sub, 'moved')).status, STATUS.OK)
  await all.server.stop('SIGKILL')
  const next = await course(t, { dir: all.dir })
  for (const [user, handles] of Object.entries(known) as [keyof typeof USERS, ReadonlyMap<string, Buffer>][]) {
    const client = next.nfs.as(USERS[user])
    for (const [path, handle] of handles) t.equal((await client.getattr(handle)).status, STATUS.OK, `${user} ${path}`)
  }
  t.ok((await walk(next.nfs, 'daemon')).get('sub/moved')?.equals(known.daemon.get('sub/one') as Buffer))
  t.ok((await walk(next.nfs, 'bin')).get('sub/one')?.equals(known.bin.get('sub/one') as Buffer))
  const foreign = await next.nfs.as(BIN.uid).getattr(known.daemon.get('welcome.txt') as Buffer)
  t.not(foreign.status, STATUS.OK, 'a handle of one view is none of another')
  t.not((await next.nfs.as(BIN.uid).lookup(known.daemon.get('sub') as Buffer, 'a.txt')).status, STATUS.OK)
  t.equal(await next.server.stop(), 0)
})

t.test('handles in the logs of the views of an earlier version stay valid', AS_ROOT, async (t) => {
  const all = await course(t, { prepare })
  const handles = await walk(all.nfs, 'daemon')
  t.equal(await all.server.stop(), 0)
  const views = join(all.dir, 'views')
  rmSync(join(views, 'stack'), { recursive: true })
  const [id] = readdirSync(views).filter((name) => /^[0-9a-f]{16}$/.test(name))
  const own = `upperdir=${views}/${id}/upper,workdir=${views}/${id}/work`
  const overlay = await mount(parseOptions(`lowerdir=${all.dir}/material,${own}`))
  await retainAll(overlay, overlay.root)
  await overlay.unmount()
  t.ok(logs(all).own > 66 * 40)
  const next = await course(t, { dir: all.dir })
  const client = next.nfs.as(DAEMON.uid)
  for (const [path, handle] of handles) t.equal((await client.getattr(handle)).status, STATUS.OK, path)
  t.equal(await next.server.stop(), 0)
})

async function retainAll(overlay: Overlay, dir: Inode): Promise<void> {
  const inside: Inode[] = []
  await overlay.readdirPlus({ uid: 0, gid: 0, groups: [] }, dir, 0, ({ inode }) => {
    if (inode) overlay.retain(inode)
    if (inode?.type === FileType.directory) inside.push(inode)
    return true
  })
  for (const below of inside) await retainAll(overlay, below)
  await overlay.retained()
}

t.test(
  'when the stack of a template changes, its open views share the new one, under live clients',
  AS_ROOT,
  async (t) => {
    const all = await course(t, { prepare })
    const known = { daemon: await walk(all.nfs, 'daemon'), bin: await walk(all.nfs, 'bin') }
    const before = logs(all)
    mkdirSync(join(all.dir, 'update'), { mode: 0o755 })
    writeFileSync(join(all.dir, 'update', 'update.txt'), 'new')
    const file = join(all.dir, 'o.toml')
    const text = readFileSync(file, 'utf8')
    const added = '[layers.update]\npath = "update"\n[stacks.course]'
    writeFileSync(file, text.replace('[stacks.course]', added).replace('["material"]', '["update", "material"]'))
    const applied = await run(['reload', '--state-dir', join(all.dir, 'state')])
    t.equal(applied.stderr, '')
    const daemon = all.nfs.as(DAEMON.uid)
    for (const [path, handle] of known.daemon) t.equal((await daemon.getattr(handle)).status, STATUS.OK, path)
    t.equal((await walk(all.nfs, 'daemon')).size, 67)
    const once = logs(all)
    t.ok(once.together > before.together, 'the first view confirms what it finds')
    t.equal((await walk(all.nfs, 'bin')).size, 67)
    t.same(logs(all), once, 'the second one finds it confirmed')
    t.equal(once.own, 0)
    await all.server.stop('SIGKILL')
    const next = await course(t, { dir: all.dir })
    const bin = next.nfs.as(BIN.uid)
    for (const [path, handle] of known.bin) t.equal((await bin.getattr(handle)).status, STATUS.OK, path)
    t.equal(await next.server.stop(), 0)
  },
)
