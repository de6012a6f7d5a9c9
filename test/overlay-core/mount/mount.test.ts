import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { mount, OptionError, parseOptions } from '../../../overlay-core/index.ts'
import { at, list, onDisk, put, text, withOverlay } from '../../helpers/overlay.ts'

t.test('a wrong directory is refused with the name of the option, and nothing is created', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-super-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  for (const name of ['l', 'u', 'w', 'l/inner', 'full']) mkdirSync(join(dir, name))
  writeFileSync(join(dir, 'file'), '')
  writeFileSync(join(dir, 'full/stranger'), '')
  const before = readdirSync(dir, { recursive: true }).sort()
  const cases: [string, string, RegExp][] = [
    ['lowerdir=missing,upperdir=u,workdir=w', 'lowerdir', /does not exist/],
    ['lowerdir=l:file,upperdir=u,workdir=w', 'lowerdir', /not a directory/],
    ['lowerdir=l,upperdir=missing,workdir=w', 'upperdir', /does not exist/],
    ['lowerdir=l,upperdir=l/inner,workdir=w', 'upperdir', /inside the lowerdir/],
    ['lowerdir=l,upperdir=u,workdir=u', 'upperdir', /also the workdir|different/],
    ['lowerdir=l:l,upperdir=u,workdir=w', 'lowerdir', /twice/],
    ['lowerdir=l,upperdir=u,workdir=full', 'workdir', /stranger/],
    ['lowerdir=l,upperdir=u,workdir=/dev/shm', 'workdir', /same|file system/],
  ]
  for (const [options, option, message] of cases) {
    const absolute = options.replaceAll(/(=|:)(?=[a-z])/g, `$1${dir}/`)
    try {
      await mount(parseOptions(absolute))
      t.fail(`${options} was taken`)
    } catch (error) {
      t.type(error, OptionError, options)
      t.equal((error as OptionError).option, option, options)
      t.match((error as OptionError).message, message, options)
      t.notMatch((error as OptionError).message, /\n/, 'one line')
    }
  }
  t.same(readdirSync(dir, { recursive: true }).sort(), before)
})

t.test('an upper in use is busy, and free again after unmount', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const options = parseOptions(`lowerdir=${fixture.lowers[0]},upperdir=${fixture.upper},workdir=${fixture.work}`)
    await t.rejects(mount(options), /upperdir: .*in use/)
    t.equal(await text(await fixture.remount(), 'f'), 'x')
  })
})

t.test('mount removes what a crash left in the work directory', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    await fixture.overlay.unmount()
    mkdirSync(join(fixture.work, 'work/#1f/deep'), { recursive: true })
    writeFileSync(join(fixture.work, 'work/#1f/deep/file'), '')
    writeFileSync(join(fixture.work, 'work/#20'), '')
    await fixture.remount()
    t.same(onDisk(join(fixture.work, 'work')), [])
  })
})

t.test('a volatile upper is refused by the next mount until its mark is removed', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-volatile-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  for (const name of ['l', 'u', 'w']) mkdirSync(join(dir, name))
  const options = `lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`
  await (await mount(parseOptions(`${options},volatile`))).unmount()
  await t.rejects(mount(parseOptions(options)), /workdir: .*volatile/)
  rmSync(join(dir, 'w/work/incompat'), { recursive: true })
  await (await mount(parseOptions(options))).unmount()
})

t.test('the identity of an overlay survives restarts; without an upper it is read-only', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const uuid = Buffer.from(fixture.overlay.uuid).toString('hex')
    await put(fixture.overlay, 'f', 'y')
    const again = await fixture.remount()
    t.equal(Buffer.from(again.uuid).toString('hex'), uuid)
    t.equal(again.readOnly, false)
    const stat = await again.statfs()
    t.ok(stat.totalBytes > stat.availableBytes && stat.nameMax === 255)
  })
  await withOverlay(
    t,
    [{ a: '1' }, { b: '2' }],
    async ({ overlay }) => {
      t.equal(overlay.readOnly, true)
      t.same(await list(overlay), ['a', 'b'])
      t.equal((await overlay.getattr(await at(overlay, 'a'))).size, 1)
    },
    { readOnly: true },
  )
})
