import t from 'tap'
import { makeLayers, watchLowers } from './helpers/layers.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { ShellError } from './helpers/shell.ts'

/** How many tests each suite of litmus 0.13 has; all 104 pass. */
const suites = { basic: 16, copymove: 13, props: 30, locks: 41, http: 4 }

t.setTimeout(300_000)
const scratch = makeScratch(t)
const layers = await makeLayers(scratch, 'layers', { names: 'utf8' })
const lowersChanged = await watchLowers(scratch, layers)
const overlayd = await startOverlayd(scratch, layers)

for (const [suite, tests] of Object.entries(suites)) {
  t.test(`litmus ${suite} passes all of its ${tests} tests without a warning`, async (t) => {
    const printed = await litmus(suite, overlayd.webdavUrl)
    const summary = printed.match(/summary for `\w+': of (\d+) tests run: (\d+) passed, (\d+) failed/)
    t.same(summary?.slice(1).map(Number), [tests, tests, 0], 'all pass', { printed })
    t.notMatch(printed, /WARNING|SKIPPED|FAIL/, 'no warning, nothing skipped', { printed })
  })
}

t.test('litmus works in a merged directory of the lowers as well', async (t) => {
  for (const [suite, tests] of Object.entries(suites)) {
    t.match(await litmus(suite, `${overlayd.webdavUrl}merged/`), `of ${tests} tests run: ${tests} passed, 0 failed`)
  }
})

t.test('afterwards the lowers are as they were', async (t) => {
  await overlayd.stop()
  t.same(await lowersChanged(), [])
})

/** Runs one suite and returns what it printed; failing tests show there. */
async function litmus(suite: string, url: string): Promise<string> {
  try {
    // Debian's script forgets where its sample files are.
    return await scratch.sh(`TESTS=${suite} HTDOCS=/usr/share/litmus/htdocs litmus -k ${url} 2>&1 | tr '\\r' '\\n'`)
  } catch (error) {
    if (error instanceof ShellError) return error.output
    throw error
  }
}
