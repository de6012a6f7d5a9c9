import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { at, list, put, ROOT } from '../../helpers/overlay.ts'
import { tmpfs } from '../../helpers/tmpfs.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const NAMES = ['f1', 'f2', 'f3']

/** The file ids of everything in the root, as getattr tells them; checked to be those of the listing. */
async function fileIds(overlay: Overlay): Promise<Map<string, string>> {
  const ids = new Map<string, string>()
  const listed = new Map<string, string>()
  await overlay.readdir(ROOT, overlay.root, 0, ({ name, fileIdHi, fileIdLo }) => {
    listed.set(name, `${fileIdHi}:${fileIdLo}`)
    return true
  })
  for (const name of await list(overlay)) {
    const { fileIdHi, fileIdLo } = await overlay.getattr(await at(overlay, name))
    ids.set(name, `${fileIdHi}:${fileIdLo}`)
    if (listed.get(name) !== ids.get(name)) throw new Error(`${name}: listed as ${listed.get(name)}`)
  }
  return ids
}

t.test('xino: ids of layers on several file systems never meet, and stay through copy-up', { skip }, async (t) => {
  // Two file systems that begin with the same inode numbers.
  const [one, two, top] = [tmpfs(t), tmpfs(t), tmpfs(t)]
  for (const [dir, prefix] of [
    [one, 'a'],
    [two, 'b'],
  ] as const)
    for (const name of NAMES) writeFileSync(join(dir, prefix + name), prefix)
  const inodes = (dir: string) => readdirSync(dir).map((name) => statSync(join(dir, name)).ino)
  t.same(inodes(one).sort(), inodes(two).sort(), 'the layers use the same numbers')
  for (const xino of ['on', 'auto', 'off']) {
    const [upper, work, merged] = ['u', 'w', 'm'].map((name) => join(top, name + xino)) as [string, string, string]
    for (const dir of [upper, work, merged]) mkdirSync(dir)
    const options = `lowerdir=${one}:${two},upperdir=${upper},workdir=${work},xino=${xino}`
    const overlay = await mount(parseOptions(options))
    const before = await fileIds(overlay)
    t.equal(new Set(before.values()).size, 2 * NAMES.length, `${xino}: six objects, six ids`)
    await put(overlay, 'af1', 'changed')
    await overlay.setattr(ROOT, await at(overlay, 'bf2'), { mode: 0o600 })
    await overlay.rename(ROOT, overlay.root, 'bf3', overlay.root, 'moved')
    const expected = new Map([...before].map(([name, id]) => [name === 'bf3' ? 'moved' : name, id]))
    t.same(await fileIds(overlay), expected, `${xino}: the same after copy-up and rename`)
    await overlay.unmount()
    const again = await mount(parseOptions(options))
    t.same(await fileIds(again), expected, `${xino}: and after a restart`)
    await again.unmount()
    if (xino === 'off') continue
    await kernelOverlay(merged, options.replace(/xino=auto/, 'xino=on'), () => {
      const numbers = () =>
        readdirSync(merged).map((name) => `${name} ${statSync(join(merged, name), { bigint: true }).ino}`)
      const kernels = numbers()
      t.equal(new Set(kernels.map((line) => line.split(' ')[1])).size, 2 * NAMES.length, 'as in the kernel')
      utimesSync(join(merged, 'af2'), 1, 1)
      t.same(numbers(), kernels, 'which keeps them as well')
    })
  }
})

t.test('an identity is the same for every name that leads to the object, and no other object has it', async (t) => {
  const dir = t.testdir({ l: { d: { f: 'x' }, e: {} }, u: {}, w: {} })
  execFileSync('ln', [join(dir, 'l/d/f'), join(dir, 'l/e/linked')])
  const overlay = await mount(parseOptions(`lowerdir=${dir}/l,upperdir=${dir}/u,workdir=${dir}/w`))
  try {
    const [file, linked] = [await at(overlay, 'd/f'), await at(overlay, 'e/linked')]
    t.equal(file, linked)
    t.equal(await overlay.inodeByKey(file.key, file.generation), file)
    const keys = new Set<string>()
    for (const path of ['/', 'd', 'e', 'd/f']) {
      const { key, generation } = await at(overlay, path)
      keys.add(`${key} ${generation}`)
    }
    t.equal(keys.size, 4)
  } finally {
    await overlay.unmount()
  }
})
