/**
 * Lets every system call of every operation of overlay-core fail, with EIO, ENOSPC, EDQUOT, EMFILE and EINTR in turn.
 *
 *     npm run test:faults -- [--seconds N] [--seed S] [--scenario NAME] [--options index=off] [--on tmpfs|disk] [--sample N]
 *     [--calls single|threads]
 */
import { failEverywhere } from './failing.ts'
import { GateInjector, ThreadInjector } from './injector.ts'
import { runInside } from './inside.ts'
import { SCENARIOS } from './scenarios.ts'
import type { Settings } from './settings.ts'

const FAILURES_SHOWN = 40

await runInside(import.meta.url, 'test:faults', failCalls)

async function failCalls(scratch: string, settings: Settings): Promise<number> {
  const started = Date.now()
  const stopAt = started + settings.seconds * 1000
  const failures: string[] = []
  const injector = settings.calls === 'threads' ? new ThreadInjector() : new GateInjector()
  let injected = 0
  for (const scenario of SCENARIOS.filter(({ name }) => name.includes(settings.scenario))) {
    if (Date.now() > stopAt) break
    const { sample, seed, options } = settings
    const result = await failEverywhere(scenario, { scratch, extra: options, sample, seed, stopAt, injector })
    injected += result.injected
    failures.push(...result.failures)
    const verdict = result.failures.length === 0 ? 'ok' : `${result.failures.length} WRONG`
    console.log(`${scenario.name}: ${result.injected} failing calls, ${verdict}`)
  }
  for (const line of failures.slice(0, FAILURES_SHOWN)) console.log(`=> ${line}`)
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  console.log(`${injected} failing calls, ${failures.length} wrong, ${seconds} s`)
  return failures.length === 0 ? 0 : 1
}
