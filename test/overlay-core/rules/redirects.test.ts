import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Overlay, OverlayError } from '../../../overlay-core/index.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { at, errnoOf, list, put, ROOT, text, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

t.setTimeout(120_000)

const skip = process.getuid?.() === 0 ? false : 'needs root'
const REDIRECT = 'trusted.overlay.redirect'

/** Renames or lists in a process of its own, whose answer is one line: names, or the errno. */
const PROGRAM = `
import os, sys, errno
try:
    if sys.argv[1] == 'rename': os.rename(sys.argv[2], sys.argv[3]); print('none')
    else: print(','.join(sorted(os.listdir(sys.argv[2]))))
except OSError as e: print(errno.errorcode[e.errno])`

function kernelAnswer(...args: string[]): string {
  return execFileSync('python3', ['-c', PROGRAM, ...args])
    .toString()
    .trim()
}

function setRedirect(path: string, value: string): void {
  const { status } = spawnSync('setfattr', ['-n', REDIRECT, '-v', value === '' ? '""' : value, path])
  if (status !== 0) throw new Error(`no redirect on ${path}`)
}

/** The names in a directory, or the errno. */
async function listed(overlay: Overlay, path: string): Promise<string> {
  try {
    return (await list(overlay, path)).join()
  } catch (error) {
    if (error instanceof OverlayError) return error.code
    throw error
  }
}

t.test('redirect_dir: each mode follows and makes redirects exactly as in the kernel', { skip }, async (t) => {
  for (const mode of ['on', 'follow', 'nofollow', 'off']) {
    const lowers = [{ 'moved/own': 'o' }, { 'old/below': 'b', 'plain/f': 'f' }]
    await withOverlay(
      t,
      lowers,
      async (fixture) => {
        const { overlay, dir, upper } = fixture
        const [followed, renamed] = [
          await listed(overlay, 'moved'),
          await errnoOf(() => overlay.rename(ROOT, overlay.root, 'plain', overlay.root, 'other')),
        ]
        t.equal(xattrOnDisk(join(upper, 'other'), REDIRECT), renamed === 'none' ? 'plain' : undefined, mode)
        for (const name of ['u', 'w', 'm']) mkdirSync(join(dir, name))
        const merged = join(dir, 'm')
        const options = `lowerdir=${fixture.lowers.join(':')},upperdir=${dir}/u,workdir=${dir}/w,redirect_dir=${mode}`
        await kernelOverlay(merged, options, () => {
          t.equal(followed, kernelAnswer('list', `${merged}/moved`), `${mode}: a redirect of a lower`)
          t.equal(renamed, kernelAnswer('rename', `${merged}/plain`, `${merged}/other`), `${mode}: a rename`)
        })
      },
      {
        options: `,redirect_dir=${mode}`,
        prepare: ([top]) => setRedirect(join(top as string, 'moved'), '/old'),
      },
    )
  }
})

t.test(
  'malformed redirects make the object fail, as in the kernel, and the listing stays complete',
  { skip },
  async (t) => {
    const redirects: Readonly<Record<string, string>> = {
      ok: '/target',
      absent: '/missing',
      climbing: '/../../etc',
      dots: '..',
      dot: '/./target',
      relative: 'a/b',
      doubled: '/target//x',
      slashes: '//',
      nothing: '',
      trailing: '/target/',
    }
    const names = Object.keys(redirects)
    const tree = Object.fromEntries(names.map((name) => [`${name}/own`, name]))
    await withOverlay(
      t,
      [tree, { 'target/below': 'b', 'target/x/y': 'y' }],
      async ({ overlay, dir, lowers, upper }) => {
        const all = [...names, 'target'].sort()
        t.same(await list(overlay), all, 'names only')
        const plus = new Map<string, boolean>()
        const answers = new Map<string, string>()
        await overlay.readdirPlus(
          ROOT,
          overlay.root,
          0,
          ({ name, inode }) => plus.set(name, inode !== undefined).size > 0,
        )
        t.same([...plus.keys()].sort(), all, 'names with objects')
        for (const name of names) answers.set(name, await listed(overlay, name))
        for (const [name, answer] of answers)
          t.equal(plus.get(name), !/^E[A-Z]+$/.test(answer), `${name}: has an object`)
        await put(overlay, 'target/below', 'changed')
        t.same(readdirSync(upper), ['target'], 'and its neighbours can be changed')
        for (const name of ['u', 'w', 'm']) mkdirSync(join(dir, name))
        const merged = join(dir, 'm')
        await kernelOverlay(
          merged,
          `lowerdir=${lowers.join(':')},upperdir=${dir}/u,workdir=${dir}/w,redirect_dir=on`,
          () => {
            t.same(readdirSync(merged).sort(), all, 'the kernel lists them too')
            for (const name of names)
              t.equal(answers.get(name), kernelAnswer('list', join(merged, name)), redirects[name])
          },
        )
      },
      {
        prepare: ([top]) => {
          for (const name of names) setRedirect(join(top as string, name), redirects[name] as string)
        },
      },
    )
  },
)

t.test(
  'a directory of the upper with a malformed redirect is left out of listings, as by the kernel',
  { skip },
  async (t) => {
    await withOverlay(t, [{ 'd/f': 'F', 'd/sub/x': 'x' }], async (fixture) => {
      await put(fixture.overlay, 'd/sub/x', 'X')
      await fixture.overlay.unmount()
      setRedirect(join(fixture.upper, 'd/sub'), 'a/b')
      const { dir, lowers, upper, work } = fixture
      mkdirSync(join(dir, 'm'))
      const options = `lowerdir=${lowers[0]},upperdir=${upper},workdir=${work}`
      await kernelOverlay(join(dir, 'm'), `${options},redirect_dir=on,index=on`, () =>
        t.same(readdirSync(join(dir, 'm/d')), ['f']),
      )
      const overlay = await fixture.open(options)
      t.same(await list(overlay, 'd'), ['f'])
      t.equal(await errnoOf(() => at(overlay, 'd/sub')), 'EINVAL')
      t.equal(await text(overlay, 'd/f'), 'F')
    })
  },
)
