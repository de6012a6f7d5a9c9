import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, lstatSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mount, parseOptions } from '../../../overlay-core/index.ts'
import { formatOverrideStat, parseOverrideStat } from '../../../overlay-core/layer/override-stat.ts'
import { build, type Fixture, type Tree, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'
import { runWithoutRoot, SERVER } from '../../helpers/without-root.ts'
import { aclFor1001, randomChanges, seen } from '../owner-scenarios.ts'

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'
const RECORD = 'user.containers.override_stat'

interface Place {
  readonly upper: string
  readonly lower: string
  /** Runs a scenario of `owner-scenarios.ts` in a server without root. */
  run(scenario: string): unknown
}

/** Layers that belong to the user of the server without root; `prepare` makes of the lower what root can make of it. */
async function withServerLayers(
  t: Test,
  lower: Tree,
  test: (place: Place, fixture: Fixture) => Promise<void>,
  prepare: (lower: string) => void = () => undefined,
): Promise<void> {
  await withOverlay(
    t,
    [lower],
    async (fixture) => {
      await fixture.overlay.unmount()
      const { dir, lowers } = fixture
      chmodSync(dir, 0o755)
      const upper = build(join(dir, 'user-upper'), {})
      const work = build(join(dir, 'user-work'), {})
      for (const path of [upper, work]) chownSync(path, SERVER.uid, SERVER.gid)
      const options = `lowerdir=${lowers[0]},upperdir=${upper},workdir=${work},userxattr`
      const module = new URL('../owner-scenarios.ts', import.meta.url)
      const run = (scenario: string) => runWithoutRoot(module, scenario, options)
      await test({ upper, lower: lowers[0] as string, run }, fixture)
      await fixture.remount()
    },
    { prepare: ([path]) => prepare(path as string) },
  )
}

/** Owner and mode on disk, and the record. */
function disk(upper: string, path: string): string {
  const { uid, gid, mode } = lstatSync(join(upper, path))
  return `${uid}:${gid} ${(mode & 0o7777).toString(8)} ${xattrOnDisk(join(upper, path), RECORD) ?? 'none'}`
}

const S = SERVER.uid

t.test('owner records are read in every format of container tools, and written in that format', async (t) => {
  const parse = (value: string) => parseOverrideStat(Buffer.from(value))
  const plain = { rdevMajor: 0, rdevMinor: 0 }
  const file = { uid: 1000, gid: 2000, mode: 0o644, type: 0o100000, ...plain }
  t.same(parse('1000:2000:0644:file'), file)
  t.same(parse('1000:2000:644'), { ...file, type: undefined }, 'without a type')
  t.same(parse('1000:2000:0100644'), { ...file, type: undefined }, 'with the type in the mode')
  t.same(parse('0:0:01777:dir')?.mode, 0o1777)
  const device = { uid: 0, gid: 6, mode: 0o660, type: 0o060000, rdevMajor: 8, rdevMinor: 17 } as const
  t.same(parse('0:6:0660:block-8-17'), device)
  for (const value of ['', 'a:b:c', '1:2', '1:2:9', '-1:0:644', '4294967295:0:644', '1:2:644x']) {
    t.equal(parse(value), undefined, JSON.stringify(value))
  }
  t.equal(Buffer.from(formatOverrideStat({ ...file, type: 0o100000 })).toString(), '1000:2000:0644:file')
  t.equal(Buffer.from(formatOverrideStat(device)).toString(), '0:6:0660:block-8-17')
})

t.test(
  'without root, owners, groups and modes are stored in a record, and the server keeps its access',
  { skip: needsRoot },
  async (t) => {
    await withServerLayers(t, { file: 'x', tool: { content: 'x', mode: 0o755 } }, async ({ upper, run }) => {
      const views = {
        file: '1234:4321 644',
        tool: '0:0 6711',
        home: '1000:2000 2750',
        'home/moved': '1000:2000 400',
        'home/folder': '1000:2000 2500',
        'home/folder/inner': '0:2000 0',
        'home/put': '1000:2000 640',
      }
      t.same(run('changes'), { denied: 'EACCES', before: views, after: views, moved: 'read-only' })
      t.equal(disk(upper, 'file'), `${S}:${S} 644 1234:4321:0644:file`)
      t.equal(disk(upper, 'tool'), `${S}:${S} 711 0:0:6711:file`, 'no setuid for the user of the server')
      t.equal(disk(upper, 'home'), `${S}:${S} 750 1000:2000:2750:dir`)
      t.equal(disk(upper, 'home/moved'), `${S}:${S} 600 1000:2000:0400:file`)
      t.equal(disk(upper, 'home/folder'), `${S}:${S} 700 1000:2000:2500:dir`)
      t.equal(disk(upper, 'home/folder/inner'), `${S}:${S} 600 0:2000:0000:file`)
      t.equal(disk(upper, 'home/put'), `${S}:${S} 640 1000:2000:0640:file`)
    })
  },
)

t.test(
  'without root, a copy-up keeps owner, group and mode of a lower; records in a lower are respected',
  { skip: needsRoot },
  async (t) => {
    const lower: Tree = {
      plain: 'x',
      foreign: 'x',
      tool: { content: 'x', mode: 0o4755 },
      readonly: { content: 'x', mode: 0o444 },
      'dir/inner': 'x',
      recorded: 'x',
      wide: 'x',
      malformed: 'x',
      shared: 'x',
    }
    const prepare = (path: string) => {
      chownSync(join(path, 'foreign'), 1000, 2000)
      chownSync(join(path, 'shared'), S, 4242)
      chownSync(join(path, 'dir'), 1000, 1000)
      chmodSync(join(path, 'dir'), 0o1555)
      const record = (name: string, value: string) =>
        execFileSync('setfattr', ['-n', RECORD, '-v', value, join(path, name)])
      record('recorded', '1000:2000:4640:file')
      record('wide', '7:8:0100600')
      record('malformed', 'nobody:8:600')
    }
    await withServerLayers(
      t,
      lower,
      async ({ upper, lower, run }) => {
        const views = {
          plain: '0:0 644',
          foreign: '1000:2000 644',
          tool: '0:0 4755',
          readonly: '0:0 444',
          dir: '1000:1000 1555',
          'dir/inner': '0:0 644',
          recorded: '1000:2000 4640',
          wide: '7:8 600',
          malformed: '0:0 644',
          shared: `${S}:4242 644`,
        }
        t.same(run('copyUps'), { lower: views, copied: views, again: views })
        t.equal(disk(upper, 'plain'), `${S}:${S} 644 0:0:0644:file`)
        t.equal(disk(upper, 'tool'), `${S}:${S} 755 0:0:4755:file`)
        t.equal(disk(upper, 'dir'), `${S}:${S} 1755 1000:1000:1555:dir`)
        t.equal(disk(upper, 'wide'), `${S}:${S} 600 7:8:0600:file`)
        t.equal(disk(upper, 'malformed'), `${S}:${S} 644 0:0:0644:file`)
        t.equal(disk(upper, 'shared'), `${S}:4242 644 none`, 'a group of the server can be set on disk')
        const byRoot = await mount(parseOptions(`lowerdir=${lower}`))
        t.equal(await seen(byRoot, 'recorded'), '0:0 644', 'a server with root goes by the disk, as the kernel does')
        await byRoot.unmount()
      },
      prepare,
    )
  },
)

t.test('clients cannot see, set or remove an owner record', { skip: needsRoot }, async (t) => {
  await withServerLayers(t, { recorded: 'x' }, async ({ run }) => {
    t.same(run('forgery'), {
      set: 'EPERM',
      removed: 'EPERM',
      value: true,
      names: ['user.other'],
      seen: '1000:1000 666',
    })
  })
})

t.test(
  "objects of the server's own user have no record; an object given back to that user loses its record",
  { skip: needsRoot },
  async (t) => {
    await withServerLayers(t, {}, async ({ upper, run }) => {
      t.same(run('ownObjects'), {
        away: '5:6 4755',
        own: `${S}:${S} 644`,
        folder: `${S}:${S} 1777`,
        group: `${S}:4242 664`,
        back: `${S}:4242 640`,
      })
      t.equal(disk(upper, 'own'), `${S}:${S} 644 none`)
      t.equal(disk(upper, 'folder'), `${S}:${S} 1777 none`)
      t.equal(disk(upper, 'group'), `${S}:4242 664 none`)
      t.equal(disk(upper, 'back'), `${S}:4242 640 none`)
    })
  },
)

t.test('without root, ACLs apply to owners that exist only in a record', { skip: needsRoot }, async (t) => {
  await withServerLayers(t, {}, async ({ upper, run }) => {
    t.same(run('acls'), {
      first: { seen: '1000:1000 460', rights: [4, 6] },
      second: { seen: '1000:1000 40', rights: [0, 4] },
      value: Buffer.from(aclFor1001(0, 4)).toString('hex'),
      third: { seen: '1000:1000 640', rights: [6, 4] },
      masks: [4, 4],
      after: { file: '1000:1000 40', 'dir/child': '1000:1000 640' },
    })
    const facl = execFileSync('getfacl', ['-n', '-c', '-p', join(upper, 'file')], { encoding: 'utf8' })
    t.match(facl, /user::rw-\nuser:1001:rwx.*\ngroup::---\nmask::r--\nother::---/)
  })
})

t.test(
  'without root, devices, fifos and sockets are stored as empty files with a record, as by container tools',
  { skip: needsRoot },
  async (t) => {
    const prepare = (path: string) => {
      execFileSync('mkfifo', ['-m', '644', join(path, 'lower-fifo')])
      for (const [name, value] of [
        ['lower-char', '0:0:0620:char-4-64'],
        ['lower-zero', '0:0:0620:char-0-0'],
        ['lower-full', '1:1:0620:pipe'],
      ] as const) {
        execFileSync('setfattr', ['-n', RECORD, '-v', value, join(path, name)])
      }
    }
    await withServerLayers(
      t,
      { 'lower-char': '', 'lower-zero': '', 'lower-full': 'content' },
      async ({ upper, run }) => {
        const views = {
          console: 'character 1000:5 620 5-1',
          disk: 'block 0:0 660 8-17',
          disk2: 'block 0:0 660 8-17',
          fifo: 'fifo 1000:1000 640 0-0',
          'lower-char': 'character 7:0 620 4-64',
          'lower-fifo': 'fifo 0:0 600 0-0',
          'lower-full': 'regular 1:1 620 0-0',
          'lower-zero': 'regular 0:0 620 0-0',
          'own-fifo': `fifo ${S}:${S} 640 0-0`,
          socket: 'socket 0:0 777 0-0',
        }
        t.same(run('specials'), { refused: 'EPERM', opened: 'EINVAL', before: views, after: views })
        t.ok(lstatSync(join(upper, 'own-fifo')).isFIFO(), 'what the server can own itself is what it is')
        t.ok(lstatSync(join(upper, 'fifo')).isFile())
        t.equal(disk(upper, 'fifo'), `${S}:${S} 640 1000:1000:0640:pipe`)
        t.equal(disk(upper, 'console'), `${S}:${S} 620 1000:5:0620:char-5-1`)
        t.equal(disk(upper, 'disk'), `${S}:${S} 660 0:0:0660:block-8-17`)
        t.equal(disk(upper, 'lower-fifo'), `${S}:${S} 600 0:0:0600:pipe`)
      },
      prepare,
    )
  },
)

t.test(
  'without root, a symlink belongs to the server, and changing its owner has no effect',
  { skip: needsRoot },
  async (t) => {
    await withServerLayers(t, { link: '-> file' }, async ({ upper, run }) => {
      const own = `${S}:${S} 777`
      t.same(run('symlinks'), { answers: ['none', 'none'], target: 'file', before: '0:0 777', made: own, link: own })
      t.ok(lstatSync(join(upper, 'made')).isSymbolicLink())
    })
  },
)

t.test(
  'a server without root gives every caller the same answers and views as one with root',
  { skip: needsRoot },
  async (t) => {
    const lower: Tree = { a: 'aaa', b: { content: 'b', mode: 0o4755 }, 'd/c': 'c', 'd/e/x': 'x', 'e/y': 'y' }
    const prepare = (path: string) => {
      chownSync(join(path, 'a'), 1000, 1000)
      chownSync(join(path, 'd'), 1000, 2000)
      chmodSync(join(path, 'd'), 0o2775)
      chmodSync(join(path, 'e'), 0o1777)
    }
    await withServerLayers(
      t,
      lower,
      async ({ run }, fixture) => {
        const overlay = await fixture.remount()
        chownSync(fixture.upper, SERVER.uid, SERVER.gid)
        const withRoot = (await randomChanges(overlay)) as string[]
        await overlay.unmount()
        const without = run('randomChanges') as string[]
        t.same(without, withRoot)
        t.ok(withRoot.filter((line) => line.endsWith(': none')).length > 400, 'many of the changes succeed')
      },
      prepare,
    )
  },
)
