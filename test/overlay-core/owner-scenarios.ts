import { type Attr, type Cred, FileType, type Inode, type Overlay } from '../../overlay-core/index.ts'
import { ACL_ACCESS, ACL_DEFAULT, encodeAcl } from '../../overlay-core/layer/acl.ts'
import { ALICE, at, errnoOf, ROOT, text } from '../helpers/overlay.ts'
import { SERVER } from '../helpers/without-root.ts'

/** What happens in the server without root in `owner.test.ts`; each returns what its clients saw. */

const BOB: Cred = { uid: 1001, gid: 1001, groups: [] }
const RECORD = 'user.containers.override_stat'

/** Owner, group and mode of what stands at `path`, as a client sees it. */
export async function seen(overlay: Overlay, path: string): Promise<string> {
  const { uid, gid, mode } = await overlay.getattr(await at(overlay, path))
  return `${uid}:${gid} ${mode.toString(8)}`
}

async function allSeen(overlay: Overlay, paths: readonly string[]): Promise<Record<string, string>> {
  const result: Record<string, string> = {}
  for (const path of paths) result[path] = await seen(overlay, path)
  return result
}

/** An ACL that gives 1001 all that `mask` lets through. */
export function aclFor1001(owner: number, mask: number): Uint8Array {
  const none = 0xffffffff
  return encodeAcl([
    { tag: 1, perm: owner, id: none },
    { tag: 2, perm: 7, id: 1001 },
    { tag: 4, perm: 0, id: none },
    { tag: 16, perm: mask, id: none },
    { tag: 32, perm: 0, id: none },
  ])
}

/** Root and users of the overlay make, give away and change objects. */
export async function changes(overlay: Overlay, remount: () => Promise<Overlay>): Promise<unknown> {
  const { root } = overlay
  await overlay.setattr(ROOT, await at(overlay, 'file'), { uid: 1234, gid: 4321 })
  await overlay.setattr(ROOT, await at(overlay, 'tool'), { mode: 0o6711 })
  const home = await overlay.mkdir(ROOT, root, 'home', { mode: 0o750 })
  await overlay.setattr(ROOT, home, { uid: 1000, gid: 2000, mode: 0o2750 })
  const denied = await errnoOf(() => overlay.create(BOB, home, 'no', { mode: 0o644 }))
  await overlay.create(ALICE, home, 'mine', { mode: 0o400 })
  await overlay.mkdir(ALICE, home, 'folder', { mode: 0o500 })
  await overlay.write(ALICE, await at(overlay, 'home/mine'), Buffer.from('read-only'), 0, 'file')
  await overlay.create(ROOT, await at(overlay, 'home/folder'), 'inner', { mode: 0 })
  await overlay.rename(ALICE, home, 'mine', home, 'moved')
  const staged = await overlay.stage(ALICE)
  await staged.append([Buffer.from('put')])
  await staged.publish({ dir: home, name: 'put', mode: 0o640 })
  const paths = ['file', 'tool', 'home', 'home/moved', 'home/folder', 'home/folder/inner', 'home/put']
  const before = await allSeen(overlay, paths)
  const again = await remount()
  return { denied, before, after: await allSeen(again, paths), moved: await text(again, 'home/moved', ALICE) }
}

/** Objects of a lower as they are seen before and after copy-up, and after a restart. */
export async function copyUps(overlay: Overlay, remount: () => Promise<Overlay>): Promise<unknown> {
  const paths = ['plain', 'foreign', 'tool', 'readonly', 'dir', 'dir/inner', 'recorded', 'wide', 'malformed', 'shared']
  const lower = await allSeen(overlay, paths)
  for (const path of paths) await overlay.setattr(ROOT, await at(overlay, path), { mtime: { sec: 1, nsec: 0 } })
  const copied = await allSeen(overlay, paths)
  const again = await remount()
  return { lower, copied, again: await allSeen(again, paths) }
}

/** A client tries to see and to forge a record. */
export async function forgery(overlay: Overlay): Promise<unknown> {
  const inode = await at(overlay, 'recorded')
  await overlay.setattr(ROOT, inode, { uid: 1000, gid: 1000, mode: 0o666 })
  await overlay.setxattr(ALICE, inode, 'user.other', Buffer.from('x'))
  return {
    set: await errnoOf(() => overlay.setxattr(ALICE, inode, RECORD, Buffer.from('0:0:4755:file'))),
    removed: await errnoOf(() => overlay.removexattr(ALICE, inode, RECORD)),
    value: (await overlay.getxattr(ALICE, inode, RECORD)) === undefined,
    names: await overlay.listxattr(ALICE, inode),
    seen: await seen(overlay, 'recorded'),
  }
}

/** What the server owns itself needs no record; what comes back to it loses its record. */
export async function ownObjects(overlay: Overlay): Promise<unknown> {
  const cred = { uid: SERVER.uid, gid: SERVER.gid, groups: [] }
  const { root } = overlay
  await overlay.create(cred, root, 'own', { mode: 0o644 })
  await overlay.mkdir(cred, root, 'folder', { mode: 0o1777 })
  await overlay.create({ ...cred, gid: 4242 }, root, 'group', { mode: 0o664 })
  const back = await overlay.create(cred, root, 'back', { mode: 0o644 })
  await overlay.setattr(ROOT, back, { uid: 5, gid: 6, mode: 0o4755 })
  const away = await seen(overlay, 'back')
  await overlay.setattr(ROOT, back, { uid: SERVER.uid, gid: 4242, mode: 0o640 })
  return { away, ...(await allSeen(overlay, ['own', 'folder', 'group', 'back'])) }
}

/** ACLs of objects that belong to others than the server. */
export async function acls(overlay: Overlay, remount: () => Promise<Overlay>): Promise<unknown> {
  const inode = await overlay.create(ROOT, overlay.root, 'file', { mode: 0o600, uid: 1000, gid: 1000 })
  await overlay.setxattr(ALICE, inode, ACL_ACCESS, aclFor1001(4, 6))
  const rights = async (one: Inode) => [await overlay.access(ALICE, one, 7), await overlay.access(BOB, one, 7)]
  const first = { seen: await seen(overlay, 'file'), rights: await rights(inode) }
  await overlay.setattr(ALICE, inode, { mode: 0o040 })
  const second = { seen: await seen(overlay, 'file'), rights: await rights(inode) }
  const value = Buffer.from((await overlay.getxattr(BOB, inode, ACL_ACCESS)) ?? []).toString('hex')
  const dir = await overlay.mkdir(ROOT, overlay.root, 'dir', { mode: 0o777 })
  await overlay.setxattr(ROOT, dir, ACL_DEFAULT, aclFor1001(7, 5))
  const child = await overlay.create(ALICE, dir, 'child', { mode: 0o666 })
  const third = { seen: await seen(overlay, 'dir/child'), rights: await rights(child) }
  const again = await remount()
  const masks = await Promise.all(
    ['file', 'dir/child'].map(async (path) => again.access(BOB, await at(again, path), 7)),
  )
  return { first, second, value, third, masks, after: await allSeen(again, ['file', 'dir/child']) }
}

/** A symlink takes no record: it stays the server's, and a change of its owner has no effect. */
export async function symlinks(overlay: Overlay): Promise<unknown> {
  await overlay.setattr(ROOT, overlay.root, { mode: 0o777 })
  const made = await overlay.symlink(ALICE, overlay.root, 'made', Buffer.from('target'), { mode: 0o777 })
  const answers = [await errnoOf(() => overlay.setattr(ROOT, made, { uid: 1000, gid: 1000 }))]
  const lower = await at(overlay, 'link')
  const before = await seen(overlay, 'link')
  answers.push(await errnoOf(() => overlay.setattr(ROOT, lower, { mtime: { sec: 1, nsec: 0 } })))
  const target = Buffer.from(await overlay.readlink(ALICE, lower)).toString()
  return { answers, target, before, ...(await allSeen(overlay, ['made', 'link'])) }
}

const TYPES = new Map(Object.entries(FileType).map(([word, type]) => [type as number, word]))

/** Devices, fifos and sockets: type, owner and device number of each, by `getattr` and by a listing. */
export async function specials(overlay: Overlay, remount: () => Promise<Overlay>): Promise<unknown> {
  const { root } = overlay
  await overlay.setattr(ROOT, root, { mode: 0o777 })
  const server = { uid: SERVER.uid, gid: SERVER.gid, groups: [] }
  const none = { major: 0, minor: 0 }
  await overlay.mknod(server, root, 'own-fifo', FileType.fifo, none, { mode: 0o640 })
  await overlay.mknod(ALICE, root, 'fifo', FileType.fifo, none, { mode: 0o640 })
  await overlay.mknod(ROOT, root, 'socket', FileType.socket, none, { mode: 0o777 })
  await overlay.mknod(ROOT, root, 'disk', FileType.block, { major: 8, minor: 17 }, { mode: 0o660 })
  const tty = await overlay.mknod(ROOT, root, 'tty', FileType.character, { major: 5, minor: 1 }, { mode: 0o620 })
  const refused = await errnoOf(() =>
    overlay.mknod(ALICE, root, 'no', FileType.block, { major: 8, minor: 1 }, { mode: 0 }),
  )
  await overlay.setattr(ROOT, tty, { uid: 1000, gid: 5 })
  await overlay.rename(ROOT, root, 'tty', root, 'console')
  await overlay.link(ROOT, await at(overlay, 'disk'), root, 'disk2')
  await overlay.setattr(ROOT, await at(overlay, 'lower-fifo'), { mode: 0o600 })
  await overlay.setattr(ROOT, await at(overlay, 'lower-char'), { uid: 7 })
  const opened = await errnoOf(async () => overlay.open(ROOT, await at(overlay, 'console'), { read: true }))
  const before = await special(overlay)
  return { refused, opened, before, after: await special(await remount()) }
}

async function special(overlay: Overlay): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  const lines: [string, Inode | undefined][] = []
  await overlay.readdirPlus(ROOT, overlay.root, 0, ({ name, inode }) => {
    lines.push([name, inode])
    return true
  })
  for (const [name, inode] of lines.sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!inode) continue
    const { type, uid, gid, mode, rdevMajor, rdevMinor } = await overlay.getattr(inode)
    found[name] = `${TYPES.get(type)} ${uid}:${gid} ${mode.toString(8)} ${rdevMajor}-${rdevMinor}`
  }
  return found
}

/** A small generator of numbers below `limit` (mulberry32). */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

const CALLERS: readonly Cred[] = [ROOT, ROOT, ALICE, ALICE, BOB, { uid: 1002, gid: 2000, groups: [1000] }]
const NAMES = ['a', 'b', 'c', 'x', 'y', 'z']
const DIRS = ['', 'd', 'e', 'd/e']

/** Many random changes by several callers; returns the answer of each and what was seen afterwards, the same wherever it runs. */
export async function randomChanges(overlay: Overlay): Promise<unknown> {
  const random = randomFrom(4711)
  const pick = <T>(values: readonly T[]) => values[random(values.length)] as T
  const mode = () =>
    pick([0, 0o644, 0o666, 0o600, 0o755, 0o777, 0o4755, 0o2775, 0o2745, 0o6777, 0o1777, random(0o10000)])
  const log: string[] = []
  await overlay.setattr(ROOT, overlay.root, { mode: 0o1777 })
  for (let i = 0; i < 1200; i++) {
    const cred = pick(CALLERS)
    const [dir, name, bits, kind] = [pick(DIRS), pick(NAMES), mode(), random(12)]
    const [uid, gid, seed] = [pick([0, 1000, 1001, 1002]), pick([0, 1000, 2000, 3000]), random(8)]
    const code = await errnoOf(() => change(overlay, { cred, dir, name, kind, bits, uid, gid, seed }))
    log.push(`${i} ${kind} ${cred.uid} ${dir}/${name} ${bits.toString(8)} ${uid}:${gid}: ${code}`)
    for (const path of [dir, `${dir}/${name}`]) log.push(`${path} ${await stateOf(overlay, path)}`)
  }
  return log
}

async function stateOf(overlay: Overlay, path: string): Promise<string> {
  const inode = await at(overlay, path).catch(() => undefined)
  if (!inode) return 'absent'
  const attr: Attr = await overlay.getattr(inode)
  const acl = (await overlay.getxattr(ROOT, inode, ACL_ACCESS)) ?? []
  const access = await Promise.all(CALLERS.slice(2).map((cred) => overlay.access(cred, inode, 7)))
  return `${attr.uid}:${attr.gid} ${attr.mode.toString(8)} ${attr.size} ${Buffer.from(acl).toString('hex')} ${access.join()}`
}

interface Drawn {
  readonly cred: Cred
  readonly dir: string
  readonly name: string
  readonly kind: number
  readonly bits: number
  readonly uid: number
  readonly gid: number
  readonly seed: number
}

async function change(overlay: Overlay, drawn: Drawn): Promise<void> {
  const { cred, name, kind, bits, uid, gid, seed } = drawn
  const dir = await at(overlay, drawn.dir, cred)
  if (dir.type !== FileType.directory) return
  if (kind === 0) {
    await overlay.create(cred, dir, name, { mode: bits })
  } else if (kind === 1) {
    await overlay.mkdir(cred, dir, name, { mode: bits })
  } else if (kind === 2) {
    const staged = await overlay.stage(cred)
    await staged.append([Buffer.from('staged')])
    await staged.publish({ dir, name, mode: bits & 0o777 })
  } else if (kind === 3) {
    await overlay.rename(cred, dir, name, overlay.root, NAMES[seed % NAMES.length] as string)
  } else if (kind === 4) {
    await overlay.unlink(cred, dir, name)
  } else {
    const inode = await overlay.lookup(cred, dir, name)
    if (inode) await changeObject(overlay, inode, drawn, { uid, gid })
  }
}

async function changeObject(
  overlay: Overlay,
  inode: Inode,
  { cred, kind, bits, seed }: Drawn,
  owner: { uid: number; gid: number },
): Promise<void> {
  if (kind === 5 || kind === 6) await overlay.setattr(cred, inode, { mode: bits })
  else if (kind === 7) await overlay.setattr(cred, inode, owner)
  else if (kind === 8) await overlay.setattr(cred, inode, { gid: owner.gid })
  else if (kind === 9) await overlay.write(cred, inode, Buffer.from('written'), seed, 'unstable')
  else if (kind === 10) await overlay.setxattr(cred, inode, ACL_ACCESS, aclFor1001(seed, bits & 7))
  else await overlay.setxattr(cred, inode, ACL_DEFAULT, aclFor1001(seed, bits & 7))
}
