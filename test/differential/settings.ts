import type { Cred } from '../../overlay-core/index.ts'

/** Mount options for both sides; what the kernel takes by default, unless said otherwise. */
export type MountSettings = Readonly<Record<'redirect_dir' | 'index' | 'metacopy' | 'xino', string>> & {
  readonly userxattr: boolean
  /** The form of overlayd's upper; that of the kernel's is its own. */
  readonly whiteouts: 'device' | 'files'
}

/** What a run does. */
export interface Settings {
  readonly rounds: number
  readonly operations: number
  /** How many views of the same lowers take the operations in turns. */
  readonly views: number
  readonly seed: number
  /** The ordinary user that does 30 % of the operations. */
  readonly user: Cred | undefined
  readonly mount: MountSettings
  /** File system of the layers: a tmpfs of its own, or the one of the temporary folder. */
  readonly on: 'tmpfs' | 'disk'
  /** Where overlayd's upper lies: with the layers, or on a ramfs, which has no attributes; then the layers have none either. */
  readonly upperOn: 'layers' | 'ramfs'
  readonly shrink: boolean
  /** By handles through a protocol, instead of by paths in the core. */
  readonly door: 'nfs3' | undefined
  /** How many processes share the rounds. */
  readonly jobs: number
}

const KERNEL_DEFAULTS = { redirect_dir: 'off', index: 'off', metacopy: 'off', xino: 'off' } as const

/** Reads `redirect_dir=on,index=on,userxattr`. @throws Error an unknown option */
export function parseMountSettings(text: string): MountSettings {
  const settings: Record<string, string | boolean> = { ...KERNEL_DEFAULTS, userxattr: false, whiteouts: 'device' }
  for (const word of text.split(',').filter((part) => part !== '')) {
    const [name, value] = word.split('=') as [string, string | undefined]
    // As the kernel, which neither follows nor writes redirects where users can set them.
    if (name === 'userxattr') Object.assign(settings, { userxattr: true, redirect_dir: 'nofollow' })
    else if (word === 'whiteouts=files') settings.whiteouts = 'files'
    // As the kernel, where metadata-only copies imply redirects.
    else if (word === 'metacopy=on') Object.assign(settings, { metacopy: 'on', redirect_dir: 'on' })
    else if (name in KERNEL_DEFAULTS && value !== undefined) settings[name] = value
    else throw new Error(`--options: unknown ${word}`)
  }
  return settings as MountSettings
}

/** The `-o` string for `lowers`, topmost first. */
export function mountString(settings: MountSettings, lowers: readonly string[], upper: string, work: string): string {
  const words = [`lowerdir=${lowers.join(':')}`, `upperdir=${upper}`, `workdir=${work}`]
  for (const name of ['redirect_dir', 'index', 'metacopy', 'xino'] as const) {
    // With userxattr the kernel refuses even to be told what it does anyway.
    if (settings.userxattr && (name === 'redirect_dir' || name === 'metacopy')) continue
    words.push(`${name}=${settings[name]}`)
  }
  if (settings.userxattr) words.push('userxattr')
  return words.join(',')
}

/** The same for overlay-core, whose defaults are others. */
export function coreMountString(
  settings: MountSettings,
  lowers: readonly string[],
  upper: string,
  work: string,
): string {
  const redirects = settings.userxattr ? `,redirect_dir=${settings.redirect_dir}` : ''
  const form = settings.whiteouts === 'files' ? ',whiteouts=files' : ''
  return mountString(settings, lowers, upper, work) + redirects + form
}

export function parseArguments(args: readonly string[]): Settings {
  let settings: Settings = {
    rounds: 100,
    operations: 300,
    views: 1,
    seed: Math.floor(Date.now() / 1000),
    user: undefined,
    mount: parseMountSettings(''),
    on: 'tmpfs',
    upperOn: 'layers',
    shrink: true,
    door: undefined,
    jobs: 1,
  }
  for (let i = 0; i < args.length; i++) {
    const name = args[i] as string
    if (name === '--no-shrink') {
      settings = { ...settings, shrink: false }
      continue
    }
    const value = args[++i]
    if (value === undefined) throw new Error(`${name}: needs a value`)
    settings = { ...settings, ...parseArgument(name, value) }
  }
  if (settings.views > 1 && settings.door) throw new Error('--views: not with --door; leave one of them out')
  return settings
}

function parseArgument(name: string, value: string): Partial<Settings> {
  const number = () => {
    if (!/^\d+$/.test(value)) throw new Error(`${name}: ${value} is not a number`)
    return Number(value)
  }
  switch (name) {
    case '--rounds':
      return { rounds: number() }
    case '--ops':
      return { operations: number() }
    case '--seed':
      return { seed: number() }
    case '--views':
      return { views: Math.max(1, number()) }
    case '--jobs':
      return { jobs: Math.max(1, number()) }
    case '--as':
      return { user: { uid: number(), gid: number(), groups: [2000] } }
    case '--options':
      return { mount: parseMountSettings(value) }
    case '--on':
      if (value !== 'tmpfs' && value !== 'disk') throw new Error(`--on: tmpfs or disk, not ${value}`)
      return { on: value }
    case '--upper-on':
      if (value !== 'layers' && value !== 'ramfs') throw new Error(`--upper-on: layers or ramfs, not ${value}`)
      return { upperOn: value }
    case '--door':
      if (value !== 'nfs3') throw new Error(`--door: nfs3, not ${value}`)
      // Handles of hard links lead to one object only where those stay linked.
      return { door: value, mount: parseMountSettings('index=on,redirect_dir=on,xino=on') }
    default:
      throw new Error(
        `unknown argument ${name}; known: --rounds --ops --views --seed --as --options --on --upper-on --door --jobs --no-shrink`,
      )
  }
}
