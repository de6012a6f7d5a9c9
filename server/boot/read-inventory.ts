import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  type BootSettings,
  type Config,
  formatProblem,
  loadConfigReader,
  type MachineProfile,
  type MachineSettings,
} from '../../config/index.ts'

const MOST_FILES = 10_000
const MOST_BYTES = 1024 * 1024

/** Adds the machines and groups of the directory `boot.inventory`. Errors in its files go to the problems of the configuration. */
export async function addInventory(config: Config, uid: number | undefined): Promise<Config> {
  const { boot } = config.draft
  if (boot?.inventory === undefined) return config
  const { bootErrors, readInventory } = await loadConfigReader()
  const at = config.placeOf('boot.inventory')
  const complain = (message: string) => config.problems.add(at, message)
  const machines: MachineSettings[] = [...boot.machines]
  const groups: MachineProfile[] = [...boot.groups]
  const files = new Map<string, string>()
  for (const path of await filesOf(boot.inventory, complain)) {
    const text = await textOf(path, complain)
    if (text === undefined) continue
    const read = readInventory(text, path, { uid, directory: dirname(path) })
    for (const problem of read.problems.list()) complain(formatProblem(problem))
    machines.push(...read.machines)
    groups.push(...read.groups)
    for (const { name } of [...read.machines, ...read.groups]) files.set(name, path)
  }
  const whole: BootSettings = { ...boot, machines, groups }
  // Those of the configuration file itself have been reported, unless they are about both.
  const before = new Set(bootErrors(boot, config.draft.views).map(({ name, message }) => `${name} ${message}`))
  for (const { kind, name, message } of bootErrors(whole, config.draft.views))
    if (!before.has(`${name} ${message}`))
      complain(`${files.get(name) ?? config.name}: \`${kind}.${name}\`: ${message}`)
  const draft = { ...config.draft, boot: whole }
  return { ...config, draft, settings: config.problems.any ? undefined : draft }
}

async function filesOf(directory: string, complain: (message: string) => void): Promise<string[]> {
  try {
    const names = (await readdir(directory)).filter((name) => name.endsWith('.toml') && !name.startsWith('.')).sort()
    if (names.length > MOST_FILES)
      complain(`\`boot.inventory\`: ${directory} has more than ${MOST_FILES} files; put machines together`)
    return names.slice(0, MOST_FILES).map((name) => join(directory, name))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    complain(`\`boot.inventory\`: ${directory} cannot be read (${code}); create it, or choose another directory`)
    return []
  }
}

async function textOf(path: string, complain: (message: string) => void): Promise<string | undefined> {
  try {
    const { size } = await stat(path)
    if (size <= MOST_BYTES) return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
    complain(`${path} is larger than ${MOST_BYTES} bytes; that is no list of machines`)
  } catch (error) {
    complain(`${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'not UTF-8'}); correct or remove it`)
  }
  return undefined
}
