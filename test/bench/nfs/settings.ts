import { parseArgs } from 'node:util'

/** What the bench is asked to do. */
export interface BenchSettings {
  /** `ganesha`, `unfs3`, or the address of a server that runs already. */
  readonly peer: string
  /** The path that the server at `peer` exports. */
  readonly exportPath: string
  readonly rounds: number
  readonly seconds: number
  /** How long each row runs on each server before it is first measured. */
  readonly warmUpSeconds: number
  /** Only rows whose name has one of these words; empty: all. */
  readonly only: readonly string[]
  readonly shapes: readonly Shape[]
  readonly modes: readonly Mode[]
  readonly directory: string | undefined
  /** Options for the Node of overlayd, between blanks, for example to profile it. */
  readonly nodeOptions: string
  readonly json: boolean
  /** Encrypts all connections. */
  readonly tls: boolean
  /** Ends with a failure when a bar is not reached. */
  readonly bars: boolean
}

/** Connections, and calls under way on each. */
export interface Shape {
  readonly connections: number
  readonly requests: number
}

/** overlayd's export option. */
export const MODES = ['async', 'sync'] as const
export type Mode = (typeof MODES)[number]

export const HELP = `usage: npm run bench:nfs -- [OPTIONS]

Compares overlayd with another NFSv3 server over the same layers: in each round first the peer, then overlayd, under the same raw load
(test/bench/nfs/load.c, compiled with cc). Prints medians over the rounds.

  --peer ganesha        NFS-Ganesha of Debian (nfs-ganesha, nfs-ganesha-vfs) over a kernel overlay mounted nfs_export=on,index=on,
                        with its own rpcbind in a network namespace of its own; needs root. The default.
  --peer unfs3          unfsd (not in Debian: it has to be on the PATH) over the same kernel overlay; needs root
  --peer HOST:PORT      a server that runs already, MOUNT and NFS on that port; --tree prepares what it has to export
  --peer none           overlayd alone
  --peer-export PATH    what the server at HOST:PORT exports; default /overlay
  --rounds N            default 3
  --seconds S           length of one measurement, which begins after 0.3 s of the same load; default 1
  --warm-up S           how long each row runs on each server before it is first measured, because Node compiles the code of a request during its
                        first tens of thousands; 0: not at all; default 5
  --only WORD[,WORD…]   only rows with one of these words in their name, for example 'getattr,read4k lower'
  --shapes CxR[,CxR…]   connections x calls under way on each; default 1x1,1x16,4x16
  --modes async,sync    overlayd's export option; default both. In sync only what writes is measured.
  --folder DIR          where the layers are made; default a new ext4 in an image where temporary files go (with --peer HOST:PORT or none:
                        a folder there)
  --tree DIR            only makes the tree that a server at HOST:PORT has to export, writable, and stops
  --node-options=TEXT   options for overlayd's Node, for example --node-options='--cpu-prof --cpu-prof-dir=/tmp/profile'
  --tls                 over TLS 1.3 with AES-128-GCM: overlayd with STARTTLS on its port (RFC 9289), the peer behind stunnel (Debian's stunnel4;
                        HOST:PORT has to speak TLS itself); needs Debian's libssl-dev. The bars are for clear text and do not count.
  --bars                fails when a bar of docs/performance.md is not reached
  --json                prints every measurement as a line of JSON instead of the tables
  --help
`

/** Reads the command line. @throws Error with what is wrong */
export function readSettings(args: string[]): BenchSettings & { help: boolean; tree: string | undefined } {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const { values } = parseArgs({
    args,
    options: {
      ...{
        peer: text,
        'peer-export': text,
        rounds: text,
        seconds: text,
        'warm-up': text,
        only: text,
        shapes: text,
        modes: text,
      },
      ...{ folder: text, tree: text, 'node-options': text, tls: flag, bars: flag, json: flag, help: flag },
    },
  })
  return {
    peer: values.peer ?? 'ganesha',
    exportPath: values['peer-export'] ?? '/overlay',
    rounds: positive('--rounds', values.rounds ?? '3'),
    seconds: positive('--seconds', values.seconds ?? '1'),
    warmUpSeconds: values['warm-up'] === '0' ? 0 : positive('--warm-up', values['warm-up'] ?? '5'),
    only: list(values.only),
    shapes: list(values.shapes ?? '1x1,1x16,4x16').map(shapeOf),
    modes: list(values.modes ?? 'async,sync').map(modeOf),
    directory: values.folder,
    tree: values.tree,
    nodeOptions: values['node-options'] ?? '',
    json: values.json === true,
    tls: values.tls === true,
    bars: values.bars === true && values.tls !== true,
    help: values.help === true,
  }
}

function list(text: string | undefined): string[] {
  return (text ?? '').split(',').filter((word) => word !== '')
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`${option} needs a number above 0, not '${text}'`)
  return value
}

function shapeOf(text: string): Shape {
  const match = /^(\d+)x(\d+)$/.exec(text)
  if (match === null) throw new Error(`--shapes: '${text}' is not CONNECTIONSxREQUESTS`)
  return { connections: positive('--shapes', match[1]), requests: positive('--shapes', match[2]) }
}

function modeOf(text: string): Mode {
  const mode = MODES.find((known) => known === text)
  if (mode === undefined) throw new Error(`--modes: '${text}' is neither async nor sync`)
  return mode
}
