import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Cred } from '../../../overlay-core/index.ts'
import { ACL_ACCESS, ACL_DEFAULT, checkAcl, encodeAcl, parseAcl } from '../../../overlay-core/layer/acl.ts'
import { asUser, type Step } from '../../helpers/as-user.ts'
import { ALICE, at, errnoOf, onDisk, ROOT, text, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'
const BOB: Cred = { uid: 1001, gid: 1001, groups: [] }

/** Owner rw-, user 1001 rw-, group r--, mask rw-, others ---. */
const SHARED = encodeAcl([
  { tag: 1, perm: 6, id: 0xffffffff },
  { tag: 2, perm: 6, id: 1001 },
  { tag: 4, perm: 4, id: 0xffffffff },
  { tag: 16, perm: 6, id: 0xffffffff },
  { tag: 32, perm: 0, id: 0xffffffff },
])

const facl = (path: string) =>
  execFileSync('getfacl', ['-n', '-c', '--absolute-names', path], { encoding: 'utf8' }).trim().split('\n')

t.test('an ACL is unchanged by decoding and encoding, and an invalid one is refused as by the kernel', async (t) => {
  t.same(encodeAcl(parseAcl(SHARED)), SHARED)
  t.same(parseAcl(SHARED.subarray(0, 4)), [], 'a header alone stands for no ACL')
  const codeOf = (value: Uint8Array) => errnoOf(() => checkAcl(parseAcl(value)))
  const changed = (at: number, byte: number) => Uint8Array.from(SHARED, (old, i) => (i === at ? byte : old))
  t.equal(await codeOf(SHARED), 'none')
  t.equal(await codeOf(SHARED.subarray(0, 3)), 'EINVAL', 'shorter than its header')
  t.equal(await codeOf(SHARED.subarray(0, 7)), 'EINVAL', 'half an entry')
  t.equal(await codeOf(changed(0, 1)), 'EOPNOTSUPP', 'another version')
  t.equal(await codeOf(changed(4, 3)), 'EINVAL', 'an unknown tag')
  t.equal(await codeOf(changed(6, 8)), 'EINVAL', 'more than three rights')
  t.equal(await codeOf(changed(28, 2)), 'EINVAL', 'named users after the group')
  t.equal(await codeOf(changed(28, 8)), 'EINVAL', 'named users without a mask')
  t.equal(await codeOf(changed(36, 16)), 'EINVAL', 'no entry for others')
  t.equal(await codeOf(Uint8Array.from([...SHARED.subarray(0, 12), ...SHARED.subarray(4)])), 'EINVAL', 'two owners')
})

t.test('the owner sets an ACL, which changes the mode and takes effect at once', { skip: needsRoot }, async (t) => {
  await withOverlay(
    t,
    [{ file: { content: 'secret', mode: 0o600 }, other: 'x' }],
    async ({ overlay, upper }) => {
      const inode = await at(overlay, 'file')
      const read = (cred: Cred) => errnoOf(() => text(overlay, 'file', cred))
      t.equal(await read(BOB), 'EACCES')
      t.equal(await errnoOf(() => overlay.setxattr(BOB, inode, ACL_ACCESS, SHARED)), 'EPERM')
      t.equal(await errnoOf(() => overlay.setxattr(ALICE, inode, ACL_ACCESS, SHARED.subarray(0, 20))), 'EINVAL')
      t.equal(await errnoOf(() => overlay.setxattr(ALICE, inode, ACL_DEFAULT, SHARED)), 'EACCES')
      t.equal(await errnoOf(() => overlay.removexattr(ALICE, inode, ACL_ACCESS)), 'ENODATA')
      t.same(onDisk(upper), [], 'what fails does not copy up')
      await overlay.setxattr(ALICE, inode, ACL_ACCESS, SHARED)
      t.equal((await overlay.getattr(inode)).mode, 0o660, 'the mask stands in the mode')
      t.same(await overlay.getxattr(BOB, inode, ACL_ACCESS), SHARED)
      t.equal(await read(BOB), 'none')
      t.equal(await overlay.access(BOB, inode, 7), 6)
      t.equal(await overlay.access({ uid: 7, gid: 1000, groups: [] }, inode, 7), 4)
      t.equal(await overlay.access({ uid: 7, gid: 7, groups: [] }, inode, 7), 0)
      t.same(facl(join(upper, 'file')), ['user::rw-', 'user:1001:rw-', 'group::r--', 'mask::rw-', 'other::---'])
      await overlay.setattr(ALICE, inode, { mode: 0o640 })
      t.equal(await overlay.access(BOB, inode, 7), 4, 'chmod changes the mask')
      t.match(facl(join(upper, 'file')), /mask::r--/)
      await overlay.removexattr(ALICE, inode, ACL_ACCESS)
      t.equal(await read(BOB), 'EACCES')
      t.equal((await overlay.getattr(inode)).mode, 0o640)
      t.equal(xattrOnDisk(join(upper, 'file'), ACL_ACCESS), undefined)
      t.equal(await errnoOf(() => overlay.removexattr(ALICE, inode, ACL_ACCESS)), 'none', 'as in the kernel')
    },
    { prepare: ([lower]) => chownSync(join(lower as string, 'file'), 1000, 1000) },
  )
})

/** Two setgid files of ALICE, of which one has a group that she is not in. */
function setgidFiles([lower]: readonly string[]): void {
  for (const [name, gid] of [
    ['mine', 2000],
    ['foreign', 3000],
  ] as const) {
    chownSync(join(lower as string, name), 1000, gid)
    chmodSync(join(lower as string, name), 0o2755)
  }
}

t.test(
  'setting an ACL on a setgid object clears setgid if the owner is not in the group',
  { skip: needsRoot },
  async (t) => {
    await withOverlay(
      t,
      [{ mine: '', foreign: '' }],
      async ({ overlay, upper }) => {
        for (const name of ['mine', 'foreign']) {
          await overlay.setxattr(ALICE, await at(overlay, name), ACL_ACCESS, SHARED)
        }
        t.equal((await overlay.getattr(await at(overlay, 'mine'))).mode, 0o2660)
        t.equal((await overlay.getattr(await at(overlay, 'foreign'))).mode, 0o660)
        t.equal(statSync(join(upper, 'foreign')).mode & 0o7777, 0o660)
      },
      { prepare: setgidFiles },
    )
  },
)

t.test('removing a missing ACL also clears setgid, and changes nothing else', { skip: needsRoot }, async (t) => {
  await withOverlay(
    t,
    [{ mine: '', foreign: '' }],
    async ({ overlay, upper }) => {
      const remove = async (name: string) => {
        const inode = await at(overlay, name)
        return await errnoOf(() => overlay.removexattr(ALICE, inode, ACL_ACCESS))
      }
      t.equal(await remove('mine'), 'ENODATA')
      t.same(readdirSync(upper), [])
      t.equal((await overlay.getattr(await at(overlay, 'mine'))).mode, 0o2755)
      t.equal(await remove('foreign'), 'none')
      t.equal((await overlay.getattr(await at(overlay, 'foreign'))).mode, 0o755)
      t.equal(statSync(join(upper, 'foreign')).mode & 0o7777, 0o755)
    },
    { prepare: setgidFiles },
  )
})

t.test('ACLs of a lower are respected, copied up, and respected after a restart', { skip: needsRoot }, async (t) => {
  await withOverlay(
    t,
    [{ 'dir/file': { content: 'x', mode: 0o600 } }],
    async (fixture) => {
      const { overlay } = fixture
      t.equal(await text(overlay, 'dir/file', BOB), 'x')
      t.equal(await errnoOf(() => at(overlay, 'dir/file', { uid: 9, gid: 9, groups: [] })), 'EACCES')
      const dir = await at(overlay, 'dir')
      await overlay.create(BOB, dir, 'new', { mode: 0o600 })
      await overlay.write(BOB, await at(overlay, 'dir/file'), Buffer.from('y'), 0, 'unstable')
      for (const path of ['dir', 'dir/file']) {
        t.same(facl(join(fixture.upper, path)), facl(join(fixture.lowers[0] as string, path)), path)
      }
      const again = await fixture.remount()
      t.equal(await text(again, 'dir/file', BOB), 'y')
      t.equal(await errnoOf(() => at(again, 'dir/file', { uid: 9, gid: 9, groups: [] })), 'EACCES')
    },
    {
      prepare: ([lower]) => {
        chmodSync(join(lower as string, 'dir'), 0o700)
        execFileSync('setfacl', ['-m', 'u:1001:rwx', join(lower as string, 'dir')])
        execFileSync('setfacl', ['-m', 'u:1001:rw', join(lower as string, 'dir/file')])
      },
    },
  )
})

const DEFAULTS = [
  'u::rwx,g::r-x,o::r-x',
  'u::rw-,g::---,o::---',
  'u::rwx,u:1001:rwx,g::r-x,m::rwx,o::---',
  'u::r-x,u:1001:r--,g::rwx,g:2000:rw-,m::r-x,o::r--',
  'u::rwx,g::rwx,g:2000:rwx,m::rw-,o::rwx',
  'u::rwx,g::r--,m::rwx,o::--x',
  'u::---,u:1000:---,g::---,m::---,o::---',
]

t.test(
  'new files and directories inherit ACL, mode and group from their directory exactly as in the kernel',
  { skip: needsRoot },
  async (t) => {
    const modes = [0o777, 0o666, 0o640, 0o600, 0o4755, 0o2775, 0o2745, 0o1777, 0]
    const callers: Cred[] = [ROOT, ALICE, BOB]
    const parents = DEFAULTS.flatMap((acl, i) => [0o777, 0o2777].map((mode) => ({ name: `d${i}-${mode}`, acl, mode })))
    const prepare = ([lower]: readonly string[]) => {
      for (const { name, acl, mode } of parents) {
        const path = join(lower as string, name)
        mkdirSync(path)
        chownSync(path, 0, 2000)
        chmodSync(path, mode)
        execFileSync('setfacl', ['-d', '--set', acl, path])
      }
    }
    await withOverlay(
      t,
      [{}],
      async ({ overlay, lowers, dir, upper }) => {
        chmodSync(dir, 0o755)
        const kernel = join(dir, 'kernel')
        execFileSync('cp', ['-a', lowers[0] as string, kernel])
        const made: string[] = []
        for (const cred of callers) {
          const steps: Step[] = []
          for (const parent of parents) {
            for (const mode of modes) {
              for (const call of ['create', 'mkdir'] as const) {
                const name = `${call}-${cred.uid}-${mode.toString(8)}`
                steps.push([call, join(kernel, parent.name, name), mode])
                await overlay[call](cred, await at(overlay, parent.name), name, { mode })
                made.push(join(parent.name, name))
              }
            }
          }
          t.ok(asUser(cred, steps).every((answer) => answer === 'ok'))
        }
        const rightsOf = (root: string) =>
          execFileSync('getfacl', ['-n', ...made], { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 }).split('\n\n')
        t.same(rightsOf(upper), rightsOf(kernel), `${made.length} objects`)
        const wrong: string[] = []
        for (const path of made) {
          const { mode, uid, gid } = await overlay.getattr(await at(overlay, path))
          const stat = lstatSync(join(kernel, path))
          if (mode !== (stat.mode & 0o7777) || uid !== stat.uid || gid !== stat.gid) wrong.push(path)
        }
        t.same(wrong, [], 'what is cached of a new object is what lies on disk')
      },
      { prepare },
    )
  },
)

t.test(
  'an inherited ACL takes effect at once, and is inherited by new subdirectories',
  { skip: needsRoot },
  async (t) => {
    await withOverlay(
      t,
      [{ 'dir/': '' }],
      async ({ overlay, upper }) => {
        const dir = await at(overlay, 'dir')
        const inner = await overlay.mkdir(ROOT, dir, 'inner', { mode: 0o770 })
        const file = await overlay.create(ROOT, inner, 'file', { mode: 0o660 })
        t.equal(await overlay.access(BOB, file, 7), 6)
        t.equal(await overlay.access(ALICE, file, 7), 0)
        const staged = await overlay.stage(ROOT)
        await staged.append([Buffer.from('put')])
        const put = await staged.publish({ dir: inner, name: 'put', mode: 0o664 })
        t.equal(await overlay.access(BOB, put, 7), 6, 'a file that was built aside inherits as well')
        const replacing = await overlay.stage(BOB)
        const replaced = await replacing.publish({ dir: inner, name: 'put', mode: 0o600 })
        t.equal(await overlay.access(BOB, replaced, 7), 6, 'and who replaces it keeps its ACL')
        t.same(
          facl(join(upper, 'dir/inner/put')),
          facl(join(upper, 'dir/inner/file')).map((line) => line.replace('other::---', 'other::---')),
        )
        const link = await overlay.symlink(ROOT, inner, 'link', Buffer.from('x'), { mode: 0o777 })
        t.equal((await overlay.getattr(link)).mode, 0o777)
      },
      {
        prepare: ([lower]) =>
          execFileSync('setfacl', [
            '-d',
            '--set',
            'u::rwx,u:1001:rwx,g::r-x,m::rwx,o::---',
            join(lower as string, 'dir'),
          ]),
      },
    )
  },
)

t.test('a default ACL of the workdir is not inherited by anything', { skip: needsRoot }, async (t) => {
  await withOverlay(t, [{ file: 'x' }], async (fixture) => {
    await fixture.overlay.unmount()
    // The kernel makes it at the first mount, overlayd with the first hard link.
    mkdirSync(join(fixture.work, 'index'), { recursive: true })
    execFileSync('setfacl', [
      '-d',
      '-m',
      'u:1001:rwx',
      fixture.work,
      join(fixture.work, 'work'),
      join(fixture.work, 'index'),
    ])
    chmodSync(join(fixture.work, 'work'), 0o2700)
    chownSync(join(fixture.work, 'work'), 0, 2000)
    const overlay = await fixture.remount()
    await overlay.create(ROOT, overlay.root, 'new', { mode: 0o644 })
    await overlay.setattr(ROOT, await at(overlay, 'file'), { mode: 0o640 })
    for (const name of ['new', 'file']) {
      t.equal(xattrOnDisk(join(fixture.upper, name), ACL_ACCESS), undefined)
      t.equal(statSync(join(fixture.upper, name)).gid, 0)
    }
  })
})

t.test(
  'permissions first read while names and ACLs change are those of the right object',
  { skip: needsRoot },
  async (t) => {
    const count = 60
    const names = Array.from({ length: count }, (_, i) => `f${i}`)
    const tree = Object.fromEntries(names.map((name) => [name, { content: name, mode: 0o600 }]))
    // Every other file lets 1001 in.
    const prepare = ([lower]: readonly string[]) => {
      const open = names.filter((_, i) => i % 2 === 0).map((name) => join(lower as string, name))
      execFileSync('setfacl', ['-m', 'u:1001:rwx', ...open])
    }
    await withOverlay(
      t,
      [tree],
      async (fixture) => {
        const { overlay } = fixture
        const { root } = overlay
        const wrong: string[] = []
        for (let i = 0; i + 2 < count; i += 3) {
          const [a, b, c] = [`f${i}`, `f${i + 1}`, `f${i + 2}`] as const
          const inodes = [await at(overlay, a), await at(overlay, b), await at(overlay, c)] as const
          const asked = () => inodes.map((inode) => overlay.access(BOB, inode, 7))
          const [first] = await Promise.all([
            Promise.all(asked()),
            overlay.rename(ROOT, root, a, root, b, { exchange: true }),
            overlay.setxattr(ROOT, inodes[2], ACL_ACCESS, SHARED),
            ...asked(),
            overlay.rename(ROOT, root, b, root, c, { exchange: true }),
            ...asked(),
            overlay.setattr(ROOT, inodes[1], { mode: 0o644 }),
          ])
          const last = await Promise.all(asked())
          const expected = [i % 2 === 0 ? 7 : 0, 4, 6]
          if (last.join() !== expected.join()) wrong.push(`${a}: ${last} for ${expected}, at first ${first}`)
        }
        t.same(wrong, [])
      },
      { prepare },
    )
  },
)
