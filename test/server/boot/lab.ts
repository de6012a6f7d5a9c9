import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { Client } from 'undici'
import { NfsClient, STATUS } from '../../helpers/nfs-client.ts'
import { RpcClient } from '../../helpers/rpc-client.ts'
import { type Running, start } from '../launch.ts'

/** The MACs of two machines. */
export const MAC_ONE = '52:54:00:00:00:01'
export const MAC_TWO = '52:54:00:00:00:02'

/** What a machine is told. */
export interface BootAnswer {
  readonly status: number
  readonly text: string
  readonly headers: Record<string, string | string[] | undefined>
}

/** A machine of the lab, which is an address of this machine. */
export interface LabMachine {
  /** Asks the boot door. */
  get(path: string, headers?: Readonly<Record<string, string>>, method?: 'GET' | 'HEAD'): Promise<BootAnswer>
  /** Asks for a boot script, and fetches the kernel. Returns the script and the kernel. */
  boot(mac: string, path?: string): Promise<{ script: string; token: string; kernel: BootAnswer }>
  /** A connection to NFS as root. */
  nfs(): Promise<NfsClient>
  /** Reads a file of the machine's view. */
  read(path: string): Promise<string>
}

export interface Lab {
  readonly dir: string
  readonly server: Running
  at(address: string): LabMachine
}

/** How a lab differs from the usual one. */
export interface LabOptions {
  /** The directory of an earlier server, which serves its configuration again. */
  readonly dir?: string
  /** Further lines of the table boot. */
  readonly boot?: string
  /** Further tables, after the two machines. */
  readonly tables?: string
  /** Further lines of the view. */
  readonly view?: string
  /** Adds to the directory before the server starts. */
  readonly prepare?: (dir: string) => void
  readonly machines?: string
  /** The tables of layers and of the stack `debian`. */
  readonly layers?: string
  readonly ports?: { readonly nfs: number; readonly boot: number }
}

/** What an image contains here. */
const IMAGE = {
  boot: {
    'vmlinuz-6.1.0-9-amd64': 'an old kernel',
    'vmlinuz-6.1.0-10-amd64': 'a new kernel',
    'initrd.img-6.1.0-10-amd64': 'a new disk',
    'vmlinuz-6.1.0-10~rc3-amd64': 'a candidate',
  },
  etc: {
    hostname: 'image\n',
    fstab: 'UUID=1 / ext4 defaults 0 1\n',
    'machine-id': 'cloned\n',
    ssh: { ssh_host_rsa_key: 'cloned', 'ssh_host_rsa_key.pub': 'cloned', sshd_config: 'x' },
    systemd: { system: {} },
  },
  root: {},
}

export function labToml({
  boot = '',
  tables = '',
  view = '',
  machines = MACHINES,
  layers = LAYERS,
  ports,
}: LabOptions): string {
  return `
${layers}
[views.debian]
stack = "debian"
upper = "per-machine"
directory = "views"
${view}
[exports.nfs]
view = "debian"
door = "nfs"
clients = ["127.0.0.0/8(rw,no_root_squash,insecure)"]
[webdav]
listen = "off"
[nfs]
listen = "127.0.0.1:${ports?.nfs ?? 0}"
[boot]
listen = "127.0.0.1:${ports?.boot ?? 0}"
views = ["debian"]
${boot}
[server]
state_dir = "state"
${machines}
${tables}
`
}

const LAYERS = `
[layers.debian]
path = "image"
[stacks.debian]
layers = ["debian"]
`

const MACHINES = `
[groups.lab]
view = "debian"
arguments = ["quiet"]
[machines.one]
mac = "${MAC_ONE}"
groups = ["lab"]
arguments = ["debug"]
[machines.two]
mac = "${MAC_TWO}"
groups = ["lab"]
`

/** Starts a server of machines over a little image. */
export async function lab(t: Test, options: LabOptions = {}): Promise<Lab> {
  const dir = options.dir ?? t.testdir({ image: IMAGE })
  writeFileSync(join(dir, 'o.toml'), labToml(options))
  mkdirSync(join(dir, 'image/boot'), { recursive: true })
  options.prepare?.(dir)
  const server = await start(t, ['serve', '--config', join(dir, 'o.toml')])
  return { dir, server, at: (address) => machine(t, server, address) }
}

/** The port of the boot door. */
export function bootPort({ server }: Pick<Lab, 'server'>): number {
  return Number(/Machines boot from http:\/\/\S+:(\d+)\/boot\.ipxe/.exec(server.stdout())?.[1])
}

function machine(t: Test, server: Running, localAddress: string): LabMachine {
  const origin = `http://127.0.0.1:${bootPort({ server })}`
  const client = new Client(origin, { localAddress })
  t.teardown(() => client.destroy())
  const get: LabMachine['get'] = async (path, headers = {}, method = 'GET') => {
    const answer = await client.request({ method, path, headers: { ...headers } })
    return { status: answer.statusCode, text: await answer.body.text(), headers: answer.headers }
  }
  const nfs = async () => {
    const rpc = await RpcClient.connect(server.nfsPort as number, undefined, localAddress)
    const found = new NfsClient(rpc).as(0)
    t.teardown(() => found.close())
    return found
  }
  return {
    get,
    nfs,
    async boot(mac, path = '/boot.ipxe') {
      const { text: script } = await get(`${path}?mac=${mac}`)
      const token = /\/boot\/files\/([^/]+)\/kernel/.exec(script)?.[1] ?? 'none'
      return { script, token, kernel: await get(`/boot/files/${token}/kernel`) }
    },
    async read(path) {
      const own = await nfs()
      const walk = async () => {
        let at = await own.mount('/debian/self')
        for (const name of path.split('/')) {
          const found = await own.lookup(at, name)
          if (found.handle === undefined) return found.status
          at = found.handle
        }
        return at
      }
      let found = await walk()
      // A directory of another version of the image has another handle; clients look up again, too.
      for (let tries = 0; found === STATUS.STALE && tries < 50; tries++) {
        await sleep(100)
        found = await walk()
      }
      return typeof found === 'number' ? `status ${found}` : (await own.read(found, 0, 65_536)).data.toString()
    },
  }
}
