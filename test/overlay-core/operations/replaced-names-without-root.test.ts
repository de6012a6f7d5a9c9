import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { withOverlay } from '../../helpers/overlay.ts'
import { runWithoutRoot, SERVER } from '../../helpers/without-root.ts'

t.setTimeout(300_000)

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'

const SCENARIOS = new URL('./replaced-names-without-root-scenarios.ts', import.meta.url)

/** Runs a scenario in a server without root; its upper holds `count` files `xN`, each with another name `d/yN`. */
async function withoutRoot(t: Test, count: number, scenario: string): Promise<unknown> {
  let result: unknown
  await withOverlay(t, [{ keep: '' }], async (fixture) => {
    await fixture.overlay.unmount()
    const { dir, lowers } = fixture
    chmodSync(dir, 0o755)
    const [upper, work] = [join(dir, 'u'), join(dir, 'w')]
    for (const path of [upper, work, join(upper, 'd')]) mkdirSync(path)
    for (let i = 0; i < count; i++) {
      writeFileSync(join(upper, `x${i}`), `${i}`)
      chmodSync(join(upper, `x${i}`), 0o644)
      linkSync(join(upper, `x${i}`), join(upper, 'd', `y${i}`))
    }
    execFileSync('chown', ['-R', `${SERVER.uid}:${SERVER.gid}`, upper, work])
    result = runWithoutRoot(SCENARIOS, scenario, `lowerdir=${lowers[0]},upperdir=${upper},workdir=${work}`)
    await fixture.remount()
  })
  return result
}

t.test('without root, a handle leads to its file as long as the server runs', { skip: needsRoot }, async (t) => {
  t.same(await withoutRoot(t, 1, 'loseAndRestart'), {
    content: '0',
    changed: { fresh: 0o644, old: 0o600 },
    linked: true,
    afterRestart: 'ESTALE',
    freshAfterRestart: 0o644,
    byName: 0o600,
  })
})

t.test(
  'without root, 1,024 files without a known name are held, and handles of others are stale until a name is found',
  { skip: needsRoot },
  async (t) => {
    t.same(await withoutRoot(t, 1100, 'loseMany'), {
      stale: 76,
      wrong: 0,
      heldAreLatest: true,
      untouched: true,
      found: '0',
    })
  },
)
