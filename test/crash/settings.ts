import { availableParallelism } from 'node:os'
import type { Scenario } from './scenario.ts'

/** What a run does. */
export interface Settings {
  /** Ends after so many kills. */
  readonly kills: number
  /** Kills at random moments with writers at work, after those at every call. */
  readonly random: number
  /** Ends after so many seconds. */
  readonly seconds: number
  readonly seed: number
  /** Only scenarios whose name has this in it. */
  readonly scenario: string
  /** Mount options for all scenarios. */
  readonly options: string
  readonly on: 'tmpfs' | 'disk'
  /** Only at so many calls of each scenario, which the seed chooses among those that change something. */
  readonly sample: number
  /** Calls as they are made with fault points, one by one; or by threads, several on a trip, where faults then strike in the threads. */
  readonly calls: 'single' | 'threads'
  /** Processes that share the work, and which of them this one is, from 0. */
  readonly jobs: number
  readonly share: number
}

const DEFAULTS: Settings = {
  kills: Number.POSITIVE_INFINITY,
  random: 200,
  seconds: Number.POSITIVE_INFINITY,
  seed: 1,
  scenario: '',
  options: '',
  on: 'tmpfs',
  sample: Number.POSITIVE_INFINITY,
  calls: 'single',
  jobs: availableParallelism(),
  share: 0,
}

/** @throws Error an unknown argument */
export function parseArguments(args: readonly string[]): Settings {
  let settings = DEFAULTS
  for (let i = 0; i < args.length; i++) {
    const name = args[i] as string
    settings = { ...settings, ...parseArgument(name, args[++i]) }
  }
  return settings
}

function parseArgument(name: string, value: string | undefined): Partial<Settings> {
  if (value === undefined) throw new Error(`${name}: needs a value`)
  const number = () => {
    if (!/^\d+$/.test(value)) throw new Error(`${name}: ${value} is not a number`)
    return Number(value)
  }
  switch (name) {
    case '--kills':
      return { kills: number() }
    case '--random':
      return { random: number() }
    case '--seconds':
      return { seconds: number() }
    case '--seed':
      return { seed: number() }
    case '--sample':
      return { sample: number() }
    case '--jobs':
      return { jobs: Math.max(1, number()) }
    case '--share':
      return { share: number() }
    case '--scenario':
      return { scenario: value }
    case '--options':
      return { options: value }
    case '--on':
      if (value !== 'tmpfs' && value !== 'disk') throw new Error(`--on: tmpfs or disk, not ${value}`)
      return { on: value }
    case '--calls':
      if (value !== 'single' && value !== 'threads') throw new Error(`--calls: single or threads, not ${value}`)
      return { calls: value }
    default:
      throw new Error(
        `unknown argument ${name}; known: --kills --seconds --seed --scenario --options --on --sample --calls --jobs --random`,
      )
  }
}

/** The scenarios that are wanted of this process. */
export function shareOf(scenarios: readonly Scenario[], { scenario, jobs, share }: Settings): readonly Scenario[] {
  return scenarios.filter(({ name }) => name.includes(scenario)).filter((_, i) => i % jobs === share)
}
