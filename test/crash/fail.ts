/** `npm run test:faults`: see `--help`. */
import { failEverywhere } from './failing.ts'
import { GateInjector, ThreadInjector } from './injector.ts'
import { type Counts, runInside } from './inside.ts'
import { SCENARIOS } from './scenarios.ts'
import { readFaultSettings, type Settings, shareOf } from './settings.ts'

const FAILURES_SHOWN = 40

await runInside(import.meta.url, {
  name: 'test:faults',
  readSettings: readFaultSettings,
  main: failCalls,
  summary: ({ injected, wrong }, seconds) => `${injected} failing calls, ${wrong} wrong, ${seconds} s`,
})

async function failCalls(scratch: string, settings: Settings): Promise<Counts> {
  const stopAt = Date.now() + settings.seconds * 1000
  const failures: string[] = []
  const injector = settings.calls === 'threads' ? new ThreadInjector() : new GateInjector()
  let injected = 0
  for (const scenario of shareOf(SCENARIOS, settings)) {
    if (Date.now() > stopAt) break
    const { sample, seed, options } = settings
    const result = await failEverywhere(scenario, { scratch, extra: options, sample, seed, stopAt, injector })
    injected += result.injected
    failures.push(...result.failures)
    const verdict = result.failures.length === 0 ? 'ok' : `${result.failures.length} WRONG`
    console.log(`${scenario.name}: ${result.injected} failing calls, ${verdict}`)
  }
  for (const line of failures.slice(0, FAILURES_SHOWN)) console.log(`=> ${line}`)
  return { injected, wrong: failures.length }
}
