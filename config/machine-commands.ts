import { isIPv4 } from 'node:net'
import { OptionError } from '../overlay-core/index.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { machineNameError, readMac } from './machine-identity.ts'
import { BOOT_OPTIONS, MACHINE_OPTIONS } from './machine-options.ts'
import type { DnsmasqRequest } from './machine-requests.ts'
import { serverChoice, shortAbsolute } from './server-choice.ts'
import type { Command } from './settings.ts'

const VERBS = ['list', 'show', 'reset', 'forget', 'approve', 'pin', 'unpin', 'console-args'] as const

/** `overlayd machine …`. @throws OptionError */
export function parseMachine([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('machine') }
  const verb = VERBS.find((each) => each === word)
  if (word === undefined) throw new OptionError('machine', `needs a word more; say ${VERBS.join(', ')}`)
  if (verb === undefined) throw OptionError.unknown(word, VERBS, 'word after machine')
  const { values, words } = cutArguments(argv, MACHINE_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('machine') }
  const rest = [...words]
  const mac = verb === 'approve' ? approvedMac(rest.shift()) : undefined
  const name = verb === 'list' ? '' : rest.shift()
  if (name === undefined) throw new OptionError('machine', `${verb} needs a name; say overlayd machine ${verb} NAME`)
  const wrong = verb === 'approve' ? machineNameError(name) : undefined
  if (wrong !== undefined) throw new OptionError('machine', wrong)
  if (rest.length > 0)
    throw new OptionError(`machine ${verb}`, `takes no further word, but got ${JSON.stringify(rest[0])}`)
  for (const option of ['--view', '--group'])
    if (values.has(option) && verb !== 'approve') throw new OptionError(option, 'goes with approve; remove it')
  if (values.has('--drop') && verb !== 'reset') throw new OptionError('--drop', 'goes with reset; remove it')
  return {
    kind: 'machine',
    machine: {
      ...{ verb, name, mac, view: values.get('--view')?.at(-1), groups: values.get('--group') ?? [] },
      ...{ drop: values.has('--drop'), yes: values.has('--yes'), json: values.has('--json') },
      ...serverChoice(values, environment),
    },
  }
}

function approvedMac(text: string | undefined): string {
  const mac = readMac(text ?? '')
  if (mac !== undefined) return mac
  const wrong = text === undefined ? 'needs' : `${JSON.stringify(text.slice(0, 80))} is not`
  throw new OptionError(
    'machine',
    `${wrong} a MAC; say overlayd machine approve MAC NAME, as overlayd machine list shows it`,
  )
}

/** `overlayd boot dnsmasq …`. @throws OptionError */
export function parseBoot([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('boot') }
  if (word === undefined) throw new OptionError('boot', 'needs a word more; say overlayd boot dnsmasq --config FILE')
  if (word !== 'dnsmasq') throw OptionError.unknown(word, ['dnsmasq'], 'word after boot')
  const { values, words } = cutArguments(argv, BOOT_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('boot') }
  if (words.length > 0)
    throw new OptionError('boot dnsmasq', `takes no further word, but got ${JSON.stringify(words[0])}`)
  const file = values.get('--config')?.at(-1)
  if (file === undefined) throw new OptionError('--config', 'is missing; say overlayd boot dnsmasq --config FILE')
  const [network, range] = [networkIn(values), rangeIn(values)]
  if ((network === undefined) === (range === undefined))
    throw new OptionError(
      '--network',
      'says where another DHCP server is, and --range which addresses dnsmasq gives out; give one of them',
    )
  const request: DnsmasqRequest = {
    config: { name: file, path: shortAbsolute(file, environment), overrides: new Map(), environment },
    ...{ network, range, interface: interfaceIn(values) },
    tftpRoot: shortAbsolute(values.get('--tftp-root')?.at(-1) ?? '/usr/lib/ipxe', environment),
  }
  return { kind: 'boot-dnsmasq', boot: request }
}

function networkIn(values: Arguments['values']): DnsmasqRequest['network'] {
  const text = values.get('--network')?.at(-1)
  if (text === undefined) return undefined
  const [address = '', bits = ''] = text.split('/')
  if (isIPv4(address) && /^\d{1,2}$/.test(bits) && Number(bits) >= 8 && Number(bits) <= 30)
    return { address, bits: Number(bits) }
  throw new OptionError('--network', `${JSON.stringify(text)} is not a network; use for example 192.168.1.0/24`)
}

function rangeIn(values: Arguments['values']): DnsmasqRequest['range'] {
  const text = values.get('--range')?.at(-1)
  if (text === undefined) return undefined
  const [first = '', last = '', more] = text.split(',')
  if (isIPv4(first) && isIPv4(last) && more === undefined) return { first, last }
  throw new OptionError(
    '--range',
    `${JSON.stringify(text)} is not a range; use for example 192.168.1.100,192.168.1.200`,
  )
}

function interfaceIn(values: Arguments['values']): string | undefined {
  const name = values.get('--interface')?.at(-1)
  if (name === undefined || /^[A-Za-z0-9_.:@-]{1,15}$/.test(name)) return name
  throw new OptionError('--interface', `${JSON.stringify(name)} is not the name of an interface; ip link lists them`)
}
