/**
 * Kills a process with overlay-core at every system call of every operation, and looks at what it left.
 *
 *     npm run test:crash -- [--kills N] [--seconds N] [--seed S] [--scenario NAME] [--options index=off] [--on tmpfs|disk] [--sample N]
 *     [--calls single|threads]
 */
import { runInside } from './inside.ts'
import { SCENARIOS } from './scenarios.ts'
import type { Settings } from './settings.ts'
import { sweep } from './sweep.ts'

const FAILURES_SHOWN = 40

await runInside(import.meta.url, 'test:crash', killEverywhere)

async function killEverywhere(scratch: string, settings: Settings): Promise<number> {
  const started = Date.now()
  const stopAt = started + settings.seconds * 1000
  const failures: string[] = []
  let [kills, byKernel] = [0, 0]
  for (const scenario of SCENARIOS.filter(({ name }) => name.includes(settings.scenario))) {
    if (kills >= settings.kills || Date.now() > stopAt) break
    const result = await sweep(scenario, {
      scratch,
      extra: settings.options,
      sample: settings.sample,
      seed: settings.seed,
      calls: settings.calls,
      thoroughEvery: 8,
      stopAt,
    })
    kills += result.kills
    byKernel += result.byKernel
    failures.push(...result.failures)
    const verdict = result.failures.length === 0 ? 'ok' : `${result.failures.length} WRONG`
    console.log(`${scenario.name}: ${result.kills} kills, ${verdict}`)
  }
  for (const line of failures.slice(0, FAILURES_SHOWN)) console.log(`=> ${line}`)
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  console.log(
    `${kills} kills, ${byKernel} of them also looked at by the kernel, ${failures.length} wrong, ${seconds} s`,
  )
  return failures.length === 0 ? 0 : 1
}
