import { parseArgs } from 'node:util'
import { MODES, type Mode } from '../nfs/settings.ts'
import { WORKLOADS } from './workloads.ts'

/** The protocols that the clients mount by. */
export const PROTOCOLS = ['nfs', 'webdav'] as const
export type Protocol = (typeof PROTOCOLS)[number]

/** What one run does. */
export interface RealSettings {
  readonly protocols: readonly Protocol[]
  readonly only: readonly string[]
  readonly rounds: number
  /** Files of the tree that the workloads handle. */
  readonly files: number
  /** overlayd's export option. */
  readonly mode: Mode
  /** Where the layers are made; undefined: on a file system of their own. */
  readonly folder: string | undefined
  /** Whether the peers are measured, too. */
  readonly peers: boolean
  readonly bars: boolean
  readonly json: boolean
  readonly nodeOptions: string
  readonly help: boolean
}

export const HELP = `usage: npm run bench:real -- [OPTIONS]

Runs what one person does, one request at a time, on mounts by real Linux clients, in turn on the peer and on overlayd, each over the same
lower and an equal upper: over NFSv3 by the kernel's client (user-mode-linux) with NFS-Ganesha over a kernel overlay as the peer, over WebDAV by
davfs2 with Apache (mod_dav) over a kernel overlay. Prints medians of the wall time and of the servers' processor time, and the ratio of overlayd's
wall time to the peer's, which is the median of the rounds' ratios. Each workload begins with a new mount, so that the client knows nothing.
Needs root, and installs Debian packages that are missing.

  --over nfs,webdav     the protocols; default both
  --rounds N            default 3; one more before them does not count
  --only TEXT[,TEXT…]   only workloads with one of these in their name, for example 'tar,chmod'
  --files N             files of the tree that is handled; default 1000
  --mode async|sync     the option of overlayd's NFS export; default async, as NFS-Ganesha never syncs metadata
  --folder DIR          where the layers are made; default a new ext4 with a journal, in an image where temporary files go
  --no-peers            overlayd alone
  --node-options=TEXT   options for overlayd's Node over NFS, for example --node-options='--cpu-prof --cpu-prof-dir=/tmp/profile'
  --bars                fails when overlayd takes longer than its peer
  --json                prints every measurement as a line of JSON instead of the tables
  --help

Workloads: ${WORKLOADS.map(({ name }) => name).join(' · ')}
`

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const

/** Reads the command line. @throws Error with what is wrong, in one sentence */
export function readSettings(args: readonly string[]): RealSettings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ over: text, rounds: text, only: text, files: text, mode: text, folder: text, 'node-options': text },
      ...{ 'no-peers': flag, bars: flag, json: flag, help: flag },
    },
  })
  const only = list(values.only)
  for (const part of only) {
    if (WORKLOADS.some(({ name }) => name.includes(part))) continue
    throw new Error(`--only: no workload has '${part}' in its name; --help lists them`)
  }
  return {
    protocols: values.over === undefined ? PROTOCOLS : list(values.over).map(protocolOf),
    only,
    rounds: count('--rounds', values.rounds ?? '3'),
    files: count('--files', values.files ?? '1000'),
    mode: modeOf(values.mode ?? 'async'),
    folder: values.folder,
    peers: values['no-peers'] !== true,
    bars: values.bars === true,
    json: values.json === true,
    nodeOptions: values['node-options'] ?? '',
    help: values.help === true,
  }
}

function list(words: string | undefined): string[] {
  return (words ?? '').split(',').filter((word) => word !== '')
}

function count(option: string, value: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value)) throw new Error(`${option} needs a whole number from 1 on, not '${value}'`)
  return Number(value)
}

function protocolOf(word: string): Protocol {
  const protocol = PROTOCOLS.find((known) => known === word)
  if (protocol === undefined) throw new Error(`--over: '${word}' is neither nfs nor webdav`)
  return protocol
}

function modeOf(word: string): Mode {
  const mode = MODES.find((known) => known === word)
  if (mode === undefined) throw new Error(`--mode: '${word}' is neither async nor sync`)
  return mode
}
