import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { limitCaches, mount, parseOptions } from '../../../overlay-core/index.ts'
import { processBudgets } from '../../../overlay-core/mount/budgets.ts'

const ROOT = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: [] }

t.test(
  'the limits of all caches can be changed while overlays are mounted, but descriptors only to less',
  async (t) => {
    const dir = t.testdir({ lower: {}, upper: {}, work: {} })
    for (let i = 0; i < 40; i++) {
      mkdirSync(join(dir, 'lower', `d${i}`))
      writeFileSync(join(dir, 'lower', `d${i}`, 'f'), 'f')
    }
    const options = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
    const overlay = await mount(parseOptions(options))
    t.teardown(() => overlay.unmount())
    t.teardown(() => limitCaches({}))
    const walk = async () => {
      for (let i = 0; i < 40; i++) {
        const sub = (await overlay.lookup(ROOT, overlay.root, `d${i}`))!
        await overlay.lookup(ROOT, sub, 'f')
      }
    }
    const budgets = processBudgets()
    const usual = budgets.directories.limit
    await walk()
    t.ok(budgets.names.used > 30)
    limitCaches({ names: 10, directories: 4, files: 1e9 })
    await walk()
    t.ok(budgets.names.used <= 10, `${budgets.names.used} names`)
    t.ok(budgets.directories.used <= 4, `${budgets.directories.used} directories`)
    t.ok(budgets.files.limit < 1e9, 'what the process may have is the limit')
    limitCaches({})
    t.equal(budgets.directories.limit, usual)
    await walk()
    t.ok(budgets.names.used > 30)
  },
)
