import type { ResolvedMachine } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { TemplateView } from '../registry/template-view.ts'
import type { Templates } from '../registry/templates.ts'
import { kernelArguments } from './kernel-arguments.ts'
import { type Machines, RUNNING_MS } from './machines.ts'
import { isOutdated } from './prepare-view.ts'

/** A request of `overlayd machine`. */
export interface MachineOrder {
  readonly verb: 'list' | 'show' | 'reset' | 'forget' | 'approve' | 'pin' | 'unpin' | 'console-args'
  readonly name?: string
  readonly mac?: string
  readonly view?: string
  readonly groups?: readonly string[]
  readonly drop?: boolean
}

/** A machine as `overlayd machine` shows it. */
export interface MachineDescription {
  /** Empty while it waits for approval. */
  readonly name: string
  readonly mac?: string | undefined
  readonly uuid?: string | undefined
  readonly serial?: string | undefined
  readonly address?: string | undefined
  readonly view?: string | undefined
  readonly policy?: string
  readonly groups?: readonly string[]
  readonly state: 'running' | 'off' | 'never booted' | 'waits for approval'
  /** ISO 8601. */
  readonly booted?: string
  readonly seen?: string
  readonly kernel?: string | undefined
  /** The versions of layers that its view lies on, as `LAYER@VERSION`. */
  readonly versions?: readonly string[]
  /** Whether there are newer versions, which new views lie on. */
  readonly outdated?: boolean
  /** Whether it stays on these versions. */
  readonly pinned?: boolean | undefined
  /** The bytes in its upper, if the view has a quota. */
  readonly bytes?: number
  readonly trouble?: string | undefined
  /** Where a reset has kept what the view contained. */
  readonly aside?: string
  /** The words of the kernel's command line; only for `console-args`. */
  readonly arguments?: readonly string[]
}

/** What the requests need. */
export interface MachineOrderParts {
  readonly machines: Machines
  readonly templates: Templates
  /** The port of NFS. */
  readonly nfsPort: number | undefined
  /** The time of day, in ms since the epoch. */
  readonly now: number
}

/** Executes requests about machines. @throws OptionError naming `machine` or `view` */
export async function executeMachineOrder(
  parts: MachineOrderParts,
  order: MachineOrder,
): Promise<MachineDescription[]> {
  const { machines } = parts
  const { verb, name = '' } = order
  if (verb === 'list') return list(parts)
  if (verb === 'approve') return [await approve(parts, order)]
  const machine = machines.need(name)
  if (verb === 'show') return [describe(parts, machine)]
  if (verb === 'console-args') return [{ ...describe(parts, machine), arguments: argumentsOf(parts, machine) }]
  if (verb === 'pin' || verb === 'unpin') {
    await machines.pin(name, verb === 'pin')
    return [describe(parts, machine)]
  }
  if (verb === 'forget') {
    const before = describe(parts, machine)
    await machines.forget(name)
    return [before]
  }
  const { view, template } = viewOf(parts, machine)
  if (view === undefined || template === undefined)
    throw new OptionError('machine', `${name} has no view yet; there is nothing to reset`)
  const { aside } = await template.snapshots.reset(view, order.drop === true)
  return [{ ...describe(parts, machine), ...(aside && { aside: `${view.path}@${aside.name}` }) }]
}

function list(parts: MachineOrderParts): MachineDescription[] {
  const { machines } = parts
  const known = machines.names().map((name) => describe(parts, machines.need(name)))
  const waiting = [...machines.pending()].map(
    ({ mac, uuid, serial, address, askedMs }): MachineDescription => ({
      ...{ name: '', mac, uuid, serial, address, state: 'waits for approval', seen: new Date(askedMs).toISOString() },
    }),
  )
  return [...known.sort((a, b) => (a.name < b.name ? -1 : 1)), ...waiting]
}

function describe(parts: MachineOrderParts, machine: ResolvedMachine): MachineDescription {
  const { machines, now } = parts
  const { name, mac, uuid, serial, policy, groups } = machine
  const record = machines.record(name)
  const lease = machines.leaseOf(name)
  const seenMs = lease?.seenMs
  const booted = record?.bootedMs
  const runs = machines.isRunning(name) || (seenMs !== undefined && now - seenMs < RUNNING_MS)
  const { view, template } = viewOf(parts, machine)
  const versions = Object.entries(view?.record.versions ?? {}).map(([layer, version]) => `${layer}@${version}`)
  return {
    ...{ name, mac, uuid, serial, policy, groups },
    address: lease?.address ?? machine.address,
    view: lease?.view ?? machine.view,
    state: runs ? 'running' : booted === undefined ? 'never booted' : 'off',
    ...(booted !== undefined && { booted: new Date(booted).toISOString() }),
    ...(seenMs !== undefined && { seen: new Date(seenMs).toISOString() }),
    ...(record?.pinned && { pinned: true }),
    kernel: record?.kernel,
    ...(template && view && versions.length > 0 && { versions, outdated: isOutdated(template, view) }),
    ...(view?.quota && { bytes: view.quota.state.bytes }),
    trouble: machines.troubleOf(name),
  }
}

function viewOf({ machines, templates }: MachineOrderParts, machine: ResolvedMachine) {
  const name = machines.leaseOf(machine.name)?.view ?? machine.view ?? machines.settings.views[0] ?? ''
  const template = templates.get(name)
  const view: TemplateView | undefined = template?.byName(machine.name)
  return { template, view }
}

function argumentsOf({ machines, nfsPort }: MachineOrderParts, machine: ResolvedMachine): string[] {
  const { server, listen, views } = machines.settings
  if (nfsPort === undefined) throw new OptionError('machine', 'NFS is off; set nfs.listen')
  const view = machine.view ?? (views[0] as string)
  return kernelArguments(machine, {
    server: server ?? listen.host,
    port: machines.findable ? undefined : nfsPort,
    view,
  })
}

async function approve(parts: MachineOrderParts, { name = '', mac, view, groups = [] }: MachineOrder) {
  const { machines } = parts
  const { settings } = machines
  if (machines.byName(name) !== undefined)
    throw new OptionError('machine', `there is a machine ${name} already; choose another name`)
  if (view !== undefined && !settings.views.includes(view))
    throw new OptionError(
      'machine',
      `machines do not boot ${JSON.stringify(view)}; choose one of ${settings.views.join(', ')}`,
    )
  for (const group of groups)
    if (!settings.groups.some((each) => each.name === group))
      throw new OptionError(
        'machine',
        `there is no group ${JSON.stringify(group)}; add [groups.NAME] to the configuration`,
      )
  const other = mac && machines.find({ mac, uuid: undefined, serial: undefined, key: undefined })
  if (other) throw new OptionError('machine', `${other.name} has this MAC already; forget it first`)
  await machines.approve({
    name,
    mac,
    view,
    groups,
    arguments: [],
    mountOptions: [],
    fstab: [],
    authorizedKeys: [],
    files: [],
  })
  return describe(parts, machines.need(name))
}
