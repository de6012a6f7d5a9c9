import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { mount, OptionError, parseOptions } from '../../../overlay-core/index.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { at, list, put, ROOT, text, xattrOnDisk } from '../../helpers/overlay.ts'

t.setTimeout(180_000)

const skip = process.getuid?.() === 0 ? false : 'needs root'

/** Options that the kernel and overlayd have to take, or refuse, alike. Names of folders: l, l2 lowers; d1, d2 data; u, w. */
const WRITABLE = 'lowerdir=l,upperdir=u,workdir=w'
const ALIKE: readonly string[] = [
  WRITABLE,
  'lowerdir=l:l2',
  'lowerdir=l:l2::d1',
  'lowerdir=l:l2::d1::d2',
  'lowerdir=l::d1:l2',
  'lowerdir=::d1',
  'lowerdir=:l',
  'lowerdir=l:',
  'lowerdir=l:::d1',
  'lowerdir=co\\:lon:l',
  'lowerdir=l:back\\\\slash',
  'lowerdir+=l,lowerdir+=l2',
  'lowerdir+=co:lon,lowerdir+=l',
  'lowerdir+=l,lowerdir+=l2,datadir+=d1',
  'datadir+=d1',
  'datadir+=d1,lowerdir+=l',
  'lowerdir+=l:l2',
  'lowerdir=',
  'lowerdir=l:l',
  'lowerdir=l:l/sub',
  'lowerdir=missing:l',
  'lowerdir=l/f:l2',
  'upperdir=u,workdir=w',
  'lowerdir=l,upperdir=u',
  'lowerdir=l,upperdir=u,workdir=u',
  'lowerdir=l,upperdir=u,workdir=u/inside',
  'lowerdir=l,upperdir=l,workdir=w',
  'lowerdir=l,upperdir=u,workdir=l',
  'lowerdir=l:l2,redirect_dir=off,metacopy=on',
  'lowerdir=l:l2,redirect_dir=follow,metacopy=on',
  'lowerdir=l:l2,redirect_dir=nofollow,metacopy=on',
  'lowerdir=l:l2,volatile',
  'lowerdir=l:l2,index=on',
  'lowerdir=l:l2,nfs_export=on',
  'lowerdir=l:l2,xino=on',
  'lowerdir=l:l2,uuid=on',
  'lowerdir=l:l2,ro',
  ...[
    ...['redirect_dir=on', 'redirect_dir=follow', 'redirect_dir=nofollow', 'redirect_dir=off', 'redirect_dir=x'],
    ...['index=on', 'index=off', 'index=x', 'index', 'index=on,index=off'],
    ...['nfs_export=on', 'nfs_export=off', 'nfs_export=on,index=off', 'nfs_export=on,metacopy=on'],
    ...['xino=on', 'xino=auto', 'xino=off', 'xino=x'],
    ...['metacopy=on', 'metacopy=off', 'metacopy=on,redirect_dir=on', 'metacopy=on,redirect_dir=off'],
    ...['metacopy=on,redirect_dir=follow', 'metacopy=on,redirect_dir=nofollow'],
    ...['userxattr', 'userxattr=1', 'userxattr,metacopy=on', 'volatile', 'volatile=1'],
    ...['uuid=on', 'uuid=auto', 'uuid=null', 'uuid=off', 'uuid=x', 'verity=off'],
    ...['override_creds', 'nooverride_creds', 'default_permissions', 'ro', 'rw', 'noatime', 'nosuid'],
    ...['foo', 'foo=bar'],
  ].map((option) => `${WRITABLE},${option}`),
]

/** Where overlayd answers otherwise on purpose: what it does, and why. */
const OTHERWISE: Readonly<Record<string, ['taken' | 'refused', string]>> = {
  'lowerdir=l': ['taken', 'one lower alone is a read-only export'],
  'lowerdir=l,lowerdir+=l2': ['taken', 'lowerdir+ adds to what was named before'],
  'lowerdir+=l,lowerdir=l2': ['taken', 'the last of repeated options counts'],
  'lowerdir=l,datadir+=d1': ['taken', 'datadir+ adds to what was named before'],
  [`${WRITABLE},userxattr,redirect_dir=on`]: ['taken', 'overlayd confines redirects to their layer'],
  [`${WRITABLE},verity=on`]: ['refused', 'digests are not checked, so nobody is to rely on them'],
  [`${WRITABLE},verity=require`]: ['refused', 'digests are not checked, so nobody is to rely on them'],
  'lowerdir=l:l2::d1,metacopy=off': ['refused', 'nothing of the data-only layer could be read'],
}

/** Words of options that may or may not go together. */
const CROSSED: readonly (readonly string[])[] = [
  ['', 'redirect_dir=on', 'redirect_dir=follow', 'redirect_dir=nofollow', 'redirect_dir=off'],
  ['', 'metacopy=on', 'metacopy=off'],
  ['', 'index=on', 'index=off'],
  ['', 'nfs_export=on', 'nfs_export=off'],
  ['', 'userxattr'],
  ['lowerdir=l:l2', WRITABLE, `${WRITABLE},volatile`],
]
/** Of the combinations every so-many-th is tried; no factor of their number, so that each word comes with each. */
const TRIED_EVERY = 17

function combinations(words = CROSSED): string[][] {
  const [first, ...rest] = words
  if (first === undefined) return [[]]
  const others = combinations(rest)
  return first.flatMap((word) => others.map((more) => (word === '' ? more : [word, ...more])))
}

/** Makes the folders that the options name, anew for every mount. */
function folders(t: Test): string {
  return t.testdir({
    ...{ l: { f: 'x', sub: {} }, l2: { g: 'y' }, d1: {}, d2: {}, u: { inside: {} }, w: {}, m: {} },
    ...{ 'co:lon': {}, 'back\\slash': {} },
  })
}

/** Whether the kernel mounts. */
function kernelTakes(dir: string, options: string): boolean {
  try {
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, 'm'], { cwd: dir, stdio: 'ignore' })
  } catch (error) {
    if ((error as { status?: number }).status === undefined) throw error
    return false
  }
  execFileSync('umount', ['m'], { cwd: dir })
  return true
}

/** Whether overlayd mounts; a refusal has to be an OptionError of one line. */
async function overlaydTakes(t: Test, dir: string, options: string): Promise<boolean> {
  try {
    await (await mount(parseOptions(options, { cwd: dir, privileged: true }))).unmount()
    return true
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    t.notMatch(error.message, /\n/)
    return false
  }
}

t.test('options with the kernel’s names and syntax are accepted and refused as by the kernel', { skip }, async (t) => {
  for (const options of ALIKE) {
    const dir = folders(t)
    t.equal(await overlaydTakes(t, dir, options), kernelTakes(folders(t), options), options)
  }
})

t.test('only these few options are treated differently from the kernel', { skip }, async (t) => {
  for (const [options, [answer, why]] of Object.entries(OTHERWISE)) {
    t.equal(await overlaydTakes(t, folders(t), options), answer === 'taken', `${options}: ${why}`)
    t.equal(kernelTakes(folders(t), options), answer !== 'taken', `the kernel: ${options}`)
  }
})

t.test('any combination of options is accepted or refused as by the kernel', { skip }, async (t) => {
  const all = combinations()
  t.equal(all.length, 810)
  for (const words of all.filter((_, i) => i % TRIED_EVERY === 0)) {
    const options = words.join(',')
    const taken = await overlaydTakes(t, folders(t), options)
    // Redirects never leave their layer here, so whoever owns a file may make them.
    const ownRedirects = words.includes('userxattr') && words.some((word) => /^redirect_dir=(on|follow|off)/.test(word))
    const without = ownRedirects ? words.filter((word) => !word.startsWith('redirect_dir')).join(',') : options
    if (ownRedirects) t.equal(kernelTakes(folders(t), options), false, options)
    t.equal(taken, kernelTakes(folders(t), without), options)
  }
})

t.test('the complete classic option string works', async (t) => {
  const dir = t.testdir({ lower: { f: 'x' }, upper: { upper: {}, work: {} } })
  const overlay = await mount(
    parseOptions(`lowerdir=${dir}/lower,upperdir=${dir}/upper/upper,workdir=${dir}/upper/work`, {
      cwd: '/',
      privileged: process.getuid?.() === 0,
    }),
  )
  await put(overlay, 'f', 'y')
  await overlay.unmount()
  t.same(readdirSync(join(dir, 'upper/upper')), ['f'])
})

t.test('defaults are redirect_dir=on, index=on, xino=on, metacopy=off', (t) => {
  const { redirectDir, index, xino, metacopy } = parseOptions('lowerdir=/l')
  t.same({ redirectDir, index, xino, metacopy }, { redirectDir: 'on', index: true, xino: 'on', metacopy: false })
  t.end()
})

t.test('without an upper the overlay is read-only, and nothing is written', async (t) => {
  const dir = t.testdir({ l: { f: 'x' }, l2: { g: 'y' } })
  const overlay = await mount(parseOptions(`lowerdir=${dir}/l:${dir}/l2`))
  t.equal(overlay.readOnly, true)
  t.same(await list(overlay), ['f', 'g'])
  await t.rejects(async () => await overlay.unlink(ROOT, overlay.root, 'f'), { message: 'unlink "f": EROFS' })
  await t.rejects(overlay.mkdir(ROOT, overlay.root, 'd', { mode: 0o755 }), { message: 'create "d": EROFS' })
  await t.rejects(async () => overlay.open(ROOT, await at(overlay, 'f'), { write: true }), { message: 'open: EROFS' })
  await overlay.unmount()
  t.same(readdirSync(dir), ['l', 'l2'])
})

t.test('a workdir with foreign files is refused, and one used by an overlay is accepted', { skip }, async (t) => {
  const dir = folders(t)
  writeFileSync(join(dir, 'w/mine'), '')
  t.equal(await overlaydTakes(t, dir, WRITABLE), false)
  const used = folders(t)
  t.equal(kernelTakes(used, WRITABLE), true)
  t.equal(await overlaydTakes(t, used, WRITABLE), true, 'by the kernel')
  t.equal(await overlaydTakes(t, used, WRITABLE), true, 'by overlayd')
  t.equal(kernelTakes(used, WRITABLE), true, 'and by the kernel again')
})

t.test(
  'work/incompat/volatile refuses the next mount, here and in the kernel, whoever wrote it',
  { skip },
  async (t) => {
    for (const first of ['kernel', 'overlayd']) {
      const dir = folders(t)
      if (first === 'kernel') t.ok(kernelTakes(dir, `${WRITABLE},volatile`))
      else t.ok(await overlaydTakes(t, dir, `${WRITABLE},volatile`))
      t.ok(existsSync(join(dir, 'w/work/incompat/volatile')))
      t.equal(await overlaydTakes(t, dir, WRITABLE), false)
      t.equal(await overlaydTakes(t, dir, `${WRITABLE},volatile`), false)
      t.equal(kernelTakes(dir, WRITABLE), false)
    }
  },
)

t.test('an unknown feature in work/incompat refuses the mount, as in the kernel', { skip }, async (t) => {
  const dir = folders(t)
  mkdirSync(join(dir, 'w/work/incompat/tomorrow'), { recursive: true })
  await t.rejects(mount(parseOptions(WRITABLE, { cwd: dir, privileged: true })), {
    message: /^workdir: .*feature 'tomorrow'/,
  })
  t.equal(kernelTakes(dir, WRITABLE), false)
  t.ok(existsSync(join(dir, 'w/work/incompat/tomorrow')), 'and nothing was cleaned away')
})

t.test(
  'an upper or workdir in use by another overlay is refused, across processes, unless that process was killed',
  async (t) => {
    const dir = folders(t)
    const program = fileURLToPath(new URL('claim-program.ts', import.meta.url))
    const child = fork(program, [`lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`], { stdio: 'ignore' })
    t.teardown(() => child.kill('SIGKILL'))
    await once(child, 'message')
    mkdirSync(join(dir, 'other'))
    for (const [options, option] of [
      [`lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/other`, 'upperdir'],
      [`lowerdir=${dir}/l,upperdir=${dir}/other,workdir=${dir}/w`, 'workdir'],
    ] as const) {
      await t.rejects(mount(parseOptions(options)), { option, message: /in use by another overlay \(EBUSY\)/ })
    }
    t.same(readdirSync(join(dir, 'other')), [], 'nothing was made')
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await mount(parseOptions(`lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`))).unmount()
  },
)

t.test('uuid: overlay.uuid of 16 bytes on the upper root, kept by both sides', { skip }, async (t) => {
  const dir = folders(t)
  const uuidOf = (where: string) => xattrOnDisk(join(where, 'u'), 'trusted.overlay.uuid')
  t.ok(await overlaydTakes(t, dir, WRITABLE))
  const ours = uuidOf(dir)
  t.equal(ours?.length, 16)
  t.ok(kernelTakes(dir, `${WRITABLE},uuid=on`))
  t.equal(uuidOf(dir), ours, 'the kernel takes ours over')
  for (const none of ['uuid=null', 'uuid=off']) {
    const other = folders(t)
    t.ok(await overlaydTakes(t, other, `${WRITABLE},${none}`))
    t.equal(uuidOf(other), undefined, none)
  }
  const kernels = folders(t)
  t.ok(kernelTakes(kernels, `${WRITABLE},uuid=on`))
  const theirs = uuidOf(kernels)
  const overlay = await mount(parseOptions(WRITABLE, { cwd: kernels, privileged: true }))
  t.equal(Buffer.from(overlay.uuid).toString('latin1'), theirs, 'and we theirs')
  await overlay.unmount()
})

t.test('userxattr keeps all marks in user.overlay.*, and the kernel with userxattr reads them', { skip }, async (t) => {
  const dir = folders(t)
  const overlay = await mount(parseOptions(`${WRITABLE},userxattr,redirect_dir=off`, { cwd: dir, privileged: true }))
  await overlay.rmdir(ROOT, overlay.root, 'sub')
  await overlay.mkdir(ROOT, overlay.root, 'sub', { mode: 0o755 })
  await put(overlay, 'f', 'changed')
  await overlay.unmount()
  t.equal(xattrOnDisk(join(dir, 'u/sub'), 'user.overlay.opaque'), 'y')
  t.equal(xattrOnDisk(join(dir, 'u/sub'), 'trusted.overlay.opaque'), undefined)
  t.not(xattrOnDisk(join(dir, 'u/f'), 'user.overlay.origin'), undefined)
  const absolute = `lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w,userxattr`
  await kernelOverlay(join(dir, 'm'), absolute, () =>
    t.same(readdirSync(join(dir, 'm')).sort(), ['f', 'inside', 'sub']),
  )
})

t.test('ro with an upper shows its content and writes nothing to it', async (t) => {
  const dir = folders(t)
  writeFileSync(join(dir, 'u/own'), 'own')
  const overlay = await mount(parseOptions(`${WRITABLE},ro`, { cwd: dir, privileged: process.getuid?.() === 0 }))
  t.same(await list(overlay), ['f', 'inside', 'own', 'sub'])
  t.equal(await text(overlay, 'own'), 'own')
  await t.rejects(async () => await overlay.unlink(ROOT, overlay.root, 'own'), { message: 'unlink "own": EROFS' })
  await overlay.unmount()
  t.same(readdirSync(join(dir, 'w')), [])
})

t.test(
  'an upper created over one lower works with another, which the kernel refuses with index=on',
  { skip },
  async (t) => {
    const dir = folders(t)
    const options = (lower: string) => `lowerdir=${lower},upperdir=u,workdir=w,index=on`
    t.ok(await overlaydTakes(t, dir, options('l')))
    t.ok(await overlaydTakes(t, dir, options('l2')))
    t.ok(kernelTakes(dir, options('l2')), 'the kernel notes the first that it sees')
    t.equal(kernelTakes(dir, options('l')), false)
    t.ok(await overlaydTakes(t, dir, options('l')))
  },
)
