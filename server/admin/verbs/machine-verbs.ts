import type { MachineDescription, MachineOrder } from '../../boot/machine-requests.ts'
import { count, flag, listOf, NO_ORDER, objectOf, oneOf, type Schema, text, time } from '../api/schema.ts'
import { type VerbContext, verb } from '../api/verb.ts'

const WORDS = (description: string): Schema => ({ type: 'array', items: { type: 'string' }, description })

const MACHINE = objectOf<MachineDescription>(
  {
    name: text('Its name; empty while it waits for approval.'),
    mac: text('The address of its network card.'),
    uuid: text('The UUID of its firmware.'),
    serial: text('The serial number of its firmware.'),
    address: text('Its latest address.'),
    view: text('The view that it boots.'),
    policy: text('What becomes of its view at a boot.'),
    groups: WORDS('The groups that it is in.'),
    state: oneOf('What it is at present.', 'running', 'off', 'never booted', 'waits for approval'),
    booted: time('When it booted last.'),
    seen: time('When it was seen last.'),
    kernel: text('The kernel that it booted.'),
    bytes: count('What its view uses, if that has a quota.'),
    versions: WORDS('The versions of layers that its view lies on, as `LAYER@VERSION`.'),
    outdated: flag('Whether there are newer versions, which new views lie on.'),
    pinned: flag('Whether it stays on these versions.'),
    trouble: text('What is wrong with it.'),
    aside: text('Where a reset has kept what the view contained.'),
    arguments: WORDS('The words of the command line of its kernel.'),
  },
  ...(['mac', 'uuid', 'serial', 'address', 'view', 'policy', 'groups', 'booted', 'seen', 'kernel'] as const),
  ...(['bytes', 'versions', 'outdated', 'pinned', 'trouble', 'aside', 'arguments'] as const),
)

const NAMED = objectOf<{ readonly name: string }>({ name: text('The name of the machine.') })

async function only({ server }: VerbContext, order: MachineOrder): Promise<MachineDescription> {
  const [found] = await server.changeMachines(order)
  return found as MachineDescription
}

/** Machines that boot from the server. */
export const MACHINE_VERBS = [
  verb({
    name: 'machine list',
    summary: 'The machines that boot from the server, and those that wait for approval.',
    changes: false,
    answer: 'result',
    order: NO_ORDER,
    result: listOf(MACHINE),
    run: async ({ server }) => await server.changeMachines({ verb: 'list' }),
  }),
  verb({
    name: 'machine show',
    summary: 'One machine.',
    changes: false,
    answer: 'result',
    order: NAMED,
    result: MACHINE,
    run: (context, { name }) => only(context, { verb: 'show', name }),
  }),
  verb({
    name: 'machine arguments',
    summary: 'The command line with which the kernel of a machine is started by hand.',
    changes: false,
    answer: 'result',
    order: NAMED,
    result: MACHINE,
    run: (context, { name }) => only(context, { verb: 'console-args', name }),
  }),
  verb({
    name: 'machine approve',
    summary: 'Lets a machine that waits for approval boot.',
    changes: true,
    answer: 'result',
    order: objectOf<Omit<MachineOrder, 'verb' | 'drop'>>(
      {
        name: text('The name that it gets.'),
        mac: text('The address of its network card.'),
        view: text('The view that it boots.'),
        groups: WORDS('The groups that it is in.'),
      },
      ...(['name', 'mac', 'view', 'groups'] as const),
    ),
    result: MACHINE,
    run: (context, order) => only(context, { verb: 'approve', ...order }),
  }),
  verb({
    name: 'machine reset',
    summary: 'Takes all changes in the view of a machine back.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly name: string; readonly drop?: boolean }>(
      { name: text('The name of the machine.'), drop: flag('Lets go of what the view contains now.') },
      'drop',
    ),
    result: MACHINE,
    run: (context, order) => only(context, { verb: 'reset', ...order }),
  }),
  verb({
    name: 'machine pin',
    summary: 'Keeps a machine on the versions of its image.',
    changes: true,
    answer: 'result',
    order: NAMED,
    result: MACHINE,
    run: (context, { name }) => only(context, { verb: 'pin', name }),
  }),
  verb({
    name: 'machine unpin',
    summary: 'Gives a machine the newest version of its image again, as its policy says.',
    changes: true,
    answer: 'result',
    order: NAMED,
    result: MACHINE,
    run: (context, { name }) => only(context, { verb: 'unpin', name }),
  }),
  verb({
    name: 'machine forget',
    summary: 'Forgets the address and identity of a machine. Its view stays.',
    changes: true,
    answer: 'result',
    order: NAMED,
    result: MACHINE,
    run: (context, { name }) => only(context, { verb: 'forget', name }),
  }),
] as const
