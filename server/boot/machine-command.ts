import { createInterface } from 'node:readline/promises'
import type { MachineRequest } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Output } from '../config-command.ts'
import { type Answer, askServer, chooseConfigServer } from '../config-server.ts'
import { type RunFile, readRunFiles } from '../state-dir.ts'
import type { MachineDescription } from './machine-requests.ts'

type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/**
 * `overlayd machine …`: asks the running server, and prints the result. Returns the exit status: 0, or 1 if the server cannot be reached.
 *
 * @throws OptionError as the server reported it, or the answer was no; nothing has changed
 */
export async function askForMachines(asked: MachineRequest, input: Input, output: Output): Promise<number> {
  const { print, printError } = output
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  await confirm(asked, input, output)
  const { verb, json } = asked
  const answer = await order(server, asked)
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const found = answer.result
  if (json) print(`${JSON.stringify(verb === 'list' ? found : found[0], null, 2)}\n`)
  else if (verb === 'list') print(table(found))
  else for (const machine of found) print(told(verb, machine))
  return 0
}

async function order(server: RunFile, asked: MachineRequest): Promise<Answer<readonly MachineDescription[]>> {
  const { verb, name = '', mac, view, groups, drop } = asked
  if (verb === 'list') return await askServer(server, 'machine list', {})
  const ask = () => {
    if (verb === 'approve')
      return askServer(server, 'machine approve', { name, groups, ...(mac && { mac }), ...(view && { view }) })
    if (verb === 'reset') return askServer(server, 'machine reset', { name, drop })
    if (verb === 'console-args') return askServer(server, 'machine arguments', { name })
    return askServer(server, `machine ${verb}`, { name })
  }
  const answer = await ask()
  return 'failure' in answer ? answer : { result: [answer.result] }
}

async function confirm({ verb, name, drop, yes }: MachineRequest, input: Input, { printError }: Output): Promise<void> {
  if (yes || (verb !== 'reset' && verb !== 'forget')) return
  const question =
    verb === 'forget'
      ? `Forget the address and identity of ${name}? Its view stays.`
      : `Take back all changes of ${name}? What its view contains now is ${drop ? 'lost' : 'kept as a snapshot'}.`
  if (!input.isTTY) throw new OptionError(verb, 'asks before it changes anything; add --yes')
  printError(`${question} [y/N] `)
  const lines = createInterface({ input })
  const answer = await lines.question('')
  lines.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new OptionError(verb, 'the answer was not yes; nothing has changed')
}

function told(verb: MachineRequest['verb'], machine: MachineDescription): string {
  const { name, aside, mac, view } = machine
  if (verb === 'console-args') return `${machine.arguments?.join(' ')}\n`
  if (verb === 'pin') return `${name} stays on ${machine.versions?.join(', ') ?? 'its image'}\n`
  if (verb === 'unpin') return `${name} gets the newest version of its image again, as its policy says\n`
  if (verb === 'forget') return `forgot ${name}; at its next boot it gets a new identity\n`
  if (verb === 'approve') return `${mac} is ${name}${view === undefined ? '' : ` and boots ${view}`}; it may boot now\n`
  if (verb === 'reset')
    return `reset ${name}; what was there before is ${aside ?? 'gone'}; restart the machine if it runs\n`
  return `${Object.entries(machine)
    .filter(([, value]) => value !== undefined && String(value) !== '')
    .map(([key, value]) => `${`${key}:`.padEnd(11)}${value}\n`)
    .join('')}`
}

function table(machines: readonly MachineDescription[]): string {
  if (machines.length === 0) return 'there are no machines yet; add [machines.NAME], or see boot.unknown\n'
  const rows = [
    ['MACHINE', 'MAC', 'ADDRESS', 'VIEW', 'STATE', 'BOOTED', 'KERNEL'],
    ...machines.map(({ name, mac, address, view, versions, outdated, pinned, state, booted, kernel, trouble }) => [
      name || '-',
      mac ?? '-',
      address ?? '-',
      [view ?? '-', ...(versions ?? []), ...(outdated ? ['(old)'] : []), ...(pinned ? ['(pinned)'] : [])].join(' '),
      `${state}${trouble === undefined ? '' : ' (!)'}`,
      booted?.slice(0, 16).replace('T', ' ') ?? '-',
      kernel?.replace('/boot/vmlinuz-', '') ?? '-',
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const troubles = machines.flatMap(({ name, trouble }) => (trouble === undefined ? [] : [`(!) ${name}: ${trouble}`]))
  return `${[...lines, ...troubles].join('\n')}\n`
}
