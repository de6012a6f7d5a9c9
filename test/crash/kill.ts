/** `npm run test:crash`: see `--help`. */
import { type Counts, runInside } from './inside.ts'
import { killUnderLoad } from './load.ts'
import { SCENARIOS } from './scenarios.ts'
import { type KillSettings, readKillSettings, readViewSettings, shareOf } from './settings.ts'
import { sweep } from './sweep.ts'
import { killViews } from './views/kill-views.ts'

const FAILURES_SHOWN = 40

const given = process.argv.slice(2)
if (given.includes('--views')) process.exitCode = await killViews(readViewSettings(given))
else
  await runInside(import.meta.url, {
    name: 'test:crash',
    readSettings: readKillSettings,
    main: killEverywhere,
    summary: ({ kills, random, changes, byKernel, wrong }, seconds) =>
      `${kills} kills, ${random} of them at random after ${changes} changes under load, ${byKernel} also looked at by the kernel, ${wrong} wrong, ${seconds} s`,
  })

async function killEverywhere(scratch: string, settings: KillSettings): Promise<Counts> {
  const stopAt = Date.now() + settings.seconds * 1000
  const failures: string[] = []
  let [kills, byKernel] = [0, 0]
  for (const scenario of shareOf(SCENARIOS, settings)) {
    if (kills >= settings.kills / settings.jobs || Date.now() > stopAt) break
    const { options, sample, seed, calls } = settings
    const result = await sweep(scenario, {
      scratch,
      extra: options,
      sample,
      seed,
      calls,
      thoroughEvery: 8,
      killsBefore: kills,
      stopAt,
    })
    kills += result.kills
    byKernel += result.byKernel
    failures.push(...result.failures)
    const verdict = result.failures.length === 0 ? 'ok' : `${result.failures.length} WRONG`
    console.log(`${scenario.name}: ${result.kills} kills, ${verdict}`)
  }
  const load = await killUnderLoad({
    scratch,
    extra: settings.options,
    kills: settings.scenario === '' ? Math.ceil(settings.random / settings.jobs) : 0,
    seed: settings.seed * 1000 + settings.share,
    stopAt,
  })
  if (load.kills > 0)
    console.log(`at random under load: ${load.kills} kills, ${load.failures.length === 0 ? 'ok' : 'WRONG'}`)
  failures.push(...load.failures)
  for (const line of failures.slice(0, FAILURES_SHOWN)) console.log(`=> ${line}`)
  return {
    kills: kills + load.kills,
    random: load.kills,
    changes: load.changes,
    byKernel: byKernel + load.byKernel,
    wrong: failures.length,
  }
}
