import type { BootSettings, MachineProfile, MachineSettings } from '../boot-settings.ts'
import { type ProfileError, profileErrors, resolveMachine } from '../machine-profiles.ts'
import type { ViewSettings } from '../settings.ts'
import { type BOOT, GROUPS, MACHINES } from './boot-tables.ts'
import type { Named, ValuesOf } from './key.ts'
import { Problems } from './problems.ts'
import { type FileValues, readTables } from './read-tables.ts'
import { readToml } from './toml.ts'
import type { ReadContext } from './value-types.ts'

const LEASE_MS = 24 * 3_600_000

/** Machines and groups of a file of the inventory. */
export interface Inventory {
  readonly machines: readonly MachineSettings[]
  readonly groups: readonly MachineProfile[]
  readonly problems: Problems
}

/** The boot settings of a file; undefined without the table. Contradictions go to `problems`. */
export function bootOf(file: FileValues, views: readonly ViewSettings[], problems: Problems): BootSettings | undefined {
  const { boot } = file
  if (boot === undefined) {
    for (const [kind, list] of [
      ['machines', file.machines],
      ['groups', file.groups],
    ] as const)
      for (const { name, at } of list)
        problems.add(at, `\`${kind}.${name}\` has no effect without the table [boot]; add it with listen and views`)
    return undefined
  }
  if (boot.listen === undefined || boot.views === undefined) return undefined
  const settings: BootSettings = {
    ...scalarsOf(boot),
    listen: boot.listen.value.address,
    views: boot.views.value,
    machines: file.machines.map(machineOf),
    groups: file.groups.map(profileOf),
  }
  checkViews(boot, settings, views, problems)
  for (const { kind, name, message } of bootErrors(settings, views))
    problems.add(file[kind].find((each) => each.name === name)?.at ?? 0, `\`${kind}.${name}\`: ${message}`)
  return settings
}

function scalarsOf(boot: ValuesOf<typeof BOOT.keys>): Omit<BootSettings, 'listen' | 'views' | 'machines' | 'groups'> {
  return {
    unknown: boot.unknown?.value ?? 'refuse',
    unknownView: boot.unknown_view?.value,
    default: boot.default?.value,
    timeoutSeconds: boot.timeout?.value ?? 10,
    server: boot.server?.value,
    arguments: boot.arguments?.value ?? [],
    inventory: boot.inventory?.value,
    leaseMs: boot.lease?.value.ms ?? LEASE_MS,
    checkMac: boot.check_mac?.value ?? 'known',
    keepSnapshots: boot.keep_snapshots?.value ?? 5,
  }
}

/** The errors in machines and groups, those of the inventory included. */
export function bootErrors(boot: BootSettings, views: readonly ViewSettings[]): ProfileError[] {
  const groups = new Map(boot.groups.map((group) => [group.name, group]))
  return [
    ...profileErrors(boot),
    ...boot.machines.flatMap((machine): ProfileError[] => {
      const { view, policy, name } = resolveMachine(machine, groups, [])
      const template = views.find((each) => each.name === view)?.template
      if (!template?.ephemeral || policy === 'keep' || policy === 'ephemeral') return []
      const message = `the policy "${policy}" needs a view that is kept, and ${view} is ephemeral; use "keep", or another view`
      return [{ kind: 'machines', name, message }]
    }),
  ]
}

function checkViews(
  boot: ValuesOf<typeof BOOT.keys>,
  settings: BootSettings,
  views: readonly ViewSettings[],
  problems: Problems,
): void {
  const templateOf = (name: string) => views.find((view) => view.name === name)?.template
  for (const name of settings.views) {
    const view = views.find((each) => each.name === name)
    if (view === undefined)
      problems.add(boot.views!.valueAt, `\`boot.views\`: there is no view ${JSON.stringify(name)}; add [views.NAME]`)
    else if (view.template?.kind !== 'per-machine')
      problems.add(
        boot.views!.valueAt,
        `\`boot.views\`: all clients share ${name}, or users have it; give it upper = "per-machine", or "ephemeral" with per = "machine"`,
      )
  }
  for (const [key, given] of [
    ['default', boot.default],
    ['unknown_view', boot.unknown_view],
  ] as const)
    if (given !== undefined && !settings.views.includes(given.value))
      problems.add(given.valueAt, `\`boot.${key}\`: ${JSON.stringify(given.value)} is not in boot.views; add it there`)
  const ephemeral = settings.unknown === 'ephemeral'
  if (ephemeral && settings.unknownView === undefined)
    problems.add(boot.unknown!.at, '`boot.unknown_view` is missing; add unknown_view = "NAME", an ephemeral view')
  if (!ephemeral && boot.unknown_view !== undefined)
    problems.add(boot.unknown_view.at, '`boot.unknown_view` has an effect only with unknown = "ephemeral"; remove it')
  if (ephemeral && settings.unknownView !== undefined && templateOf(settings.unknownView)?.ephemeral === false)
    problems.add(
      boot.unknown_view!.valueAt,
      '`boot.unknown_view` is a view that is kept; name one with upper = "ephemeral"',
    )
}

function profileOf({ name, values }: Named<typeof GROUPS.keys>): MachineProfile {
  return {
    name,
    groups: values.groups?.value ?? [],
    view: values.view?.value,
    policy: values.policy?.value,
    arguments: values.arguments?.value ?? [],
    mountOptions: values.mount_options?.value ?? [],
    console: values.console?.value,
    kernel: values.kernel?.value,
    initrd: values.initrd?.value,
    seeds: values.seeds?.value,
    fstab: values.fstab?.value ?? [],
    authorizedKeys: values.authorized_keys?.value ?? [],
    files: values.files?.value ?? [],
  }
}

function machineOf(machine: Named<typeof MACHINES.keys>): MachineSettings {
  const { mac, uuid, serial, address, key } = machine.values
  return {
    ...profileOf(machine),
    ...{ mac: mac?.value, uuid: uuid?.value, serial: serial?.value, address: address?.value, key: key?.value },
  }
}

/** Reads a file of the inventory. `name` is its name in messages. */
export function readInventory(text: string, name: string, context: ReadContext): Inventory {
  const problems = new Problems(name, text)
  const document = readToml(text, problems)
  for (const [table, { at }] of document.root.entries)
    if (table !== MACHINES.name && table !== GROUPS.name)
      problems.add(
        at,
        `${JSON.stringify(table)} does not belong here; a file of the inventory has [machines.NAME] and [groups.NAME]`,
      )
  const file = readTables(document, problems, context)
  return { machines: file.machines.map(machineOf), groups: file.groups.map(profileOf), problems }
}
