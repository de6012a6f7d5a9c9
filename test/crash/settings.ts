import { availableParallelism } from 'node:os'
import { type OptionValues, type ProgramText, readOptions } from '../helpers/program-options.ts'
import type { Scenario } from './scenario.ts'

const COMMON = {
  seconds: { type: 'number', default: Number.POSITIVE_INFINITY, help: 'ends after so many seconds' },
  seed: { type: 'number', default: 1, help: 'the seed of everything that is drawn' },
  scenario: { type: 'text', default: '', help: 'only scenarios whose name contains TEXT' },
} as const

const CALLS = {
  ...COMMON,
  options: { type: 'text', default: '', help: 'mount options for all scenarios, such as index=off' },
  on: {
    type: 'word',
    words: ['tmpfs', 'disk'],
    default: 'tmpfs',
    help: 'where the layers are: a tmpfs of its own, or the directory of temporary files',
  },
  sample: {
    type: 'number',
    default: Number.POSITIVE_INFINITY,
    help: 'only N calls of each scenario, drawn from those that change something; all by default',
  },
  calls: {
    type: 'word',
    words: ['single', 'threads'],
    default: 'single',
    help: 'one call after the other, or several on a trip of a thread, between which the fault strikes',
  },
  jobs: { type: 'number', least: 1, default: availableParallelism(), help: 'processes that share the work' },
  share: { type: 'number', default: 0, hidden: true, help: 'which of these processes this one is, from 0' },
} as const

const KILLS = {
  random: { type: 'number', default: 200, help: 'kills at random moments under load, after those at calls' },
  kills: { type: 'number', default: Number.POSITIVE_INFINITY, help: 'ends after so many kills at calls' },
} as const

export const CRASH = {
  name: 'test:crash',
  about: `Kills a process at every system call of every operation of overlay-core, then at random moments while writers are at work, and checks what it has left.
Needs root. With --views instead a server is killed while views are made, opened, closed, renamed and removed (npm run test:crash -- --views --help).`,
  options: { views: { type: 'flag', help: 'kills a server while its views change' }, ...CALLS, ...KILLS },
} as const satisfies ProgramText<object>

export const FAULTS = {
  name: 'test:faults',
  about: `Lets each system call of each operation of overlay-core fail, with EIO, ENOSPC, EDQUOT, EMFILE and EINTR in turn, and checks the answer and what is left.
Needs root.`,
  options: CALLS,
} as const satisfies ProgramText<object>

export const VIEWS = {
  name: 'test:crash',
  about: `Kills a server at each point of each change of a view: before and after each call that may change the disk. Then at random moments while several views change.
After each kill each view must be whole or absent, and all others as they were.`,
  options: {
    views: { type: 'flag', help: 'without it, a process with overlay-core is killed instead' },
    ...COMMON,
    sample: {
      type: 'number',
      default: Number.POSITIVE_INFINITY,
      help: 'only N points of each kind of change, drawn at random; all by default',
    },
    random: { type: 'number', default: 200, help: 'kills at random moments' },
    jobs: {
      type: 'number',
      least: 1,
      default: availableParallelism(),
      help: 'servers that are killed at the same time',
    },
  },
} as const satisfies ProgramText<object>

/** What a process does that kills, or lets calls fail. */
export type Settings = OptionValues<typeof CALLS>
export type KillSettings = OptionValues<(typeof CRASH)['options']>
export type ViewKillSettings = OptionValues<(typeof VIEWS)['options']>

/** Reads the command line of test:crash without --views. */
export function readKillSettings(args: readonly string[]): KillSettings {
  return readOptions(CRASH, args)
}

/** Reads the command line of test:faults. */
export function readFaultSettings(args: readonly string[]): Settings {
  return readOptions(FAULTS, args)
}

/** Reads the command line of test:crash with --views. */
export function readViewSettings(args: readonly string[]): ViewKillSettings {
  return readOptions(VIEWS, args)
}

/** The scenarios that are wanted of this process. */
export function shareOf(
  scenarios: readonly Scenario[],
  { scenario, jobs, share }: Pick<Settings, 'scenario' | 'jobs' | 'share'>,
): readonly Scenario[] {
  return scenarios.filter(({ name }) => name.includes(scenario)).filter((_, i) => i % jobs === share)
}
