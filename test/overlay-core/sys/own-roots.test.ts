import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { closeSync, closesDone } from '../../../overlay-core/sys/open.ts'
import { openOwnRoots } from '../../../overlay-core/sys/own-roots.ts'
import { statxFd } from '../../../overlay-core/sys/stat.ts'

/** Makes enough calls that threads make the later ones. */
async function warmUp(dir: string): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const own = await openOwnRoots(dir, dir, false)
    for (const fd of [own?.upperFd, own?.workFd]) if (fd !== undefined) closeSync(fd)
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
}

async function openNow(): Promise<number> {
  await closesDone()
  return readdirSync('/proc/self/fd').length
}

t.test('upper and workdir are opened, claimed and listed; whatever fails leaves nothing open', async (t) => {
  const dir = t.testdir({ upper: {}, work: { 'handles.log': '', work: {} }, file: '' })
  const [upper, work] = [join(dir, 'upper'), join(dir, 'work')]
  for (const threads of [false, true]) {
    if (threads) await warmUp(dir)
    const before = await openNow()
    const own = await openOwnRoots(upper, work, true)
    if (!own) throw new Error('not opened')
    t.same([...own.workNames].sort(), ['handles.log', 'work'])
    t.equal(own.claims.length, 2)
    t.equal(own.upperMount, own.workMount)
    t.not(statxFd(own.upperFd).ino, statxFd(own.workFd).ino)
    t.equal(await openOwnRoots(upper, work, true), undefined, 'claimed')
    const unclaimed = await openOwnRoots(upper, work, false)
    t.same(unclaimed?.claims, [])
    for (const fd of [unclaimed?.upperFd, unclaimed?.workFd]) closeSync(fd as number)
    for (const fd of [own.upperFd, own.workFd, ...own.claims]) closeSync(fd)
    for (const wrong of ['none', 'file']) {
      t.equal(await openOwnRoots(join(dir, wrong), work, true), undefined)
      t.equal(await openOwnRoots(upper, join(dir, wrong), false), undefined)
    }
    t.equal(await openNow(), before)
  }
})

t.test('a workdir whose names need more than one read is left to others', async (t) => {
  const dir = t.testdir({ upper: {} })
  const most = join(dir, 'most')
  mkdirSync(most)
  for (let i = 0; i < 20; i++) writeFileSync(join(most, `${'n'.repeat(200)}${i}`), '')
  const own = await openOwnRoots(join(dir, 'upper'), most, false)
  t.equal(own?.workNames.size, 20)
  for (const fd of [own?.upperFd, own?.workFd]) closeSync(fd as number)
  for (let i = 20; i < 60; i++) writeFileSync(join(most, `${'n'.repeat(200)}${i}`), '')
  const before = await openNow()
  t.equal(await openOwnRoots(join(dir, 'upper'), most, true), undefined)
  t.equal(await openNow(), before)
})
