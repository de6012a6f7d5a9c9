import { chmodSync, existsSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { deleteTree } from '../../../server/registry/delete-tree.ts'

t.test('a tree is deleted, also one that is deeper than a path can be', async (t) => {
  const dir = t.testdir({ outside: { kept: '' } })
  const tree = join(dir, 'tree')
  const deep = (path: string) => {
    const bottom = join(path, ...Array.from({ length: 12 }, () => 'd'.repeat(250)))
    mkdirSync(bottom, { recursive: true })
    for (let i = 0; i < 40; i++) writeFileSync(join(bottom, `f${i}`), '')
    return bottom
  }
  // Its bottom is 6000 bytes below its top.
  const bottom = deep(tree)
  deep(join(dir, 'more'))
  renameSync(join(dir, 'more'), join(bottom, 'more'))
  writeFileSync(join(tree, 'deep-0'), 'a name that moving up would use')
  symlinkSync(join(dir, 'outside'), join(tree, 'link'))
  mkdirSync(join(tree, 'closed', 'inside'), { recursive: true })
  chmodSync(join(tree, 'closed'), 0)
  t.equal(await deleteTree(tree), true)
  t.notOk(existsSync(tree))
  t.ok(existsSync(join(dir, 'outside', 'kept')), 'a symlink is not followed')
  t.equal(await deleteTree(tree), true, 'nothing is there')
})

t.test('deleting can be stopped, and be ended later', async (t) => {
  const dir = t.testdir({})
  const tree = join(dir, 'tree')
  for (let i = 0; i < 30; i++) mkdirSync(join(tree, `d${i}`, 'inside'), { recursive: true })
  let asked = 0
  t.equal(await deleteTree(tree, () => ++asked > 50), false)
  t.ok(existsSync(tree))
  t.equal(await deleteTree(tree), true)
  t.notOk(existsSync(tree))
})
