import type { BootSettings, MachineProfile, MachineSettings, Seed } from './boot-settings.ts'
import { machineNameError } from './machine-identity.ts'

/** The seeds of a machine that says nothing of them. */
const USUAL_SEEDS: readonly Seed[] = ['hostname', 'hosts', 'machine-id', 'ssh-keys', 'fstab', 'shutdown']

/** A machine with what it has from its groups. */
export interface ResolvedMachine extends MachineSettings {
  readonly policy: NonNullable<MachineSettings['policy']>
  readonly seeds: readonly Seed[]
}

/** An error in a machine or group. */
export interface ProfileError {
  readonly kind: 'machines' | 'groups'
  readonly name: string
  /** Without the path of the table. */
  readonly message: string
}

/** Adds to a machine what its groups say: single values from the first group that has one, lists in the order group, then machine. */
export function resolveMachine(
  machine: MachineSettings,
  groups: ReadonlyMap<string, MachineProfile>,
  everywhere: readonly string[],
): ResolvedMachine {
  const above = groupsOf(machine, groups)
  const first = <Key extends keyof MachineProfile>(key: Key) =>
    machine[key] ?? above.find((group) => group[key] !== undefined)?.[key]
  const all = (key: 'arguments' | 'mountOptions' | 'fstab' | 'authorizedKeys' | 'files') => [
    ...new Set([...above.toReversed().flatMap((group) => group[key]), ...machine[key]]),
  ]
  return {
    ...machine,
    view: first('view'),
    policy: first('policy') ?? 'keep',
    console: first('console'),
    kernel: first('kernel'),
    initrd: first('initrd'),
    seeds: first('seeds') ?? USUAL_SEEDS,
    arguments: [...everywhere, ...all('arguments')],
    mountOptions: all('mountOptions'),
    fstab: all('fstab'),
    authorizedKeys: all('authorizedKeys'),
    files: all('files'),
  }
}

/** The groups of a machine and those above them, the most important first, each once. */
export function groupsOf(machine: MachineProfile, groups: ReadonlyMap<string, MachineProfile>): MachineProfile[] {
  const found = new Map<string, MachineProfile>()
  const visit = (names: readonly string[]) => {
    for (const name of names) {
      const group = groups.get(name)
      if (group === undefined || found.has(name)) continue
      found.set(name, group)
      visit(group.groups)
    }
  }
  visit(machine.groups)
  return [...found.values()]
}

/** What contradicts itself in a list of machines and groups. */
export function profileErrors({
  machines,
  groups,
  views,
}: Pick<BootSettings, 'machines' | 'groups' | 'views'>): ProfileError[] {
  const errors: ProfileError[] = []
  const known = new Map(groups.map((group) => [group.name, group]))
  const check = (kind: ProfileError['kind'], profile: MachineProfile) => {
    const complain = (message: string) => errors.push({ kind, name: profile.name, message })
    for (const name of profile.groups)
      if (!known.has(name)) complain(`there is no group ${JSON.stringify(name)}; add [groups.${name}]`)
    if (profile.view !== undefined && !views.includes(profile.view))
      complain(
        `machines do not boot ${JSON.stringify(profile.view)}; add it to boot.views, which has ${views.join(', ')}`,
      )
    if (kind === 'groups' && isInItself(profile, known))
      complain('the group is in itself; take it out of one of its groups')
  }
  for (const group of groups) check('groups', group)
  const owners = new Map<string, string>()
  for (const machine of machines) {
    const complain = (message: string) => errors.push({ kind: 'machines', name: machine.name, message })
    check('machines', machine)
    const wrong = machineNameError(machine.name)
    if (wrong !== undefined) complain(wrong)
    const { mac, uuid, serial, address, name } = machine
    if ([mac, uuid, serial, address].every((each) => each === undefined))
      complain('nothing says which machine it is; add mac, uuid, serial or address')
    for (const identity of [
      `name ${name}`,
      mac && `mac ${mac}`,
      uuid && `uuid ${uuid}`,
      serial && `serial ${serial}`,
      address && `address ${address}`,
    ]) {
      if (identity === undefined) continue
      const other = owners.get(identity)
      if (other !== undefined)
        complain(
          other === name
            ? `${name} is in the list twice; remove one`
            : `has the same ${identity} as ${other}; correct one of them`,
        )
      owners.set(identity, name)
    }
  }
  return errors
}

function isInItself(group: MachineProfile, groups: ReadonlyMap<string, MachineProfile>): boolean {
  return groupsOf(group, groups).some(({ name }) => name === group.name)
}
