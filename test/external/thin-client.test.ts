import { mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { run, start } from '../server/launch.ts'
import { enterOwnNetwork } from './helpers/own-network.ts'
import { makeScratch } from './helpers/scratch.ts'
import { quote } from './helpers/shell.ts'
import {
  LAB_ADDRESS,
  LAB_NETWORK,
  makeLabNetwork,
  startDnsmasq,
  startMachine,
  startRouter,
} from './helpers/thin-lab.ts'

// Two machines without disks boot as real ones do: firmware, a real dnsmasq, iPXE, HTTP, a kernel of Debian, its root over NFS. npm run test:thin-client does it with a whole Debian.

enterOwnNetwork(import.meta.filename)
t.setTimeout(600_000)
const scratch = makeScratch(t)
const cacheHome = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
const cache = process.env.KERNEL_CLIENT_CACHE ?? join(cacheHome, 'overlayd-kernel-client')
const builder = join(import.meta.dirname, 'thin-client/build-tiny-image')
await scratch.sh(`mkdir image && ${quote(builder)} ${quote(cache)} image`)
const ONE = '52:54:00:78:00:01'
const TWO = '52:54:00:78:00:02'
const config = join(scratch.path, 'overlayd.toml')
writeFileSync(
  config,
  `
[layers.tiny]
path = "image"
[stacks.tiny]
layers = ["tiny"]
[views.tiny]
stack = "tiny"
upper = "per-machine"
directory = "views"
[exports.nfs]
view = "tiny"
door = "nfs"
clients = ["${LAB_NETWORK}(rw,no_root_squash)"]
[webdav]
listen = "off"
[nfs]
listen = "${LAB_ADDRESS}:2049"
portmap = true
[boot]
listen = "${LAB_ADDRESS}:8081"
views = ["tiny"]
check_mac = "always"
[groups.lab]
view = "tiny"
console = "ttyS0"
arguments = ["loglevel=4", "panic=-1", "mitigations=off", "random.trust_cpu=on"]
[machines.one]
mac = "${ONE}"
groups = ["lab"]
[machines.two]
mac = "${TWO}"
groups = ["lab"]
[server]
state_dir = "state"
`,
)
mkdirSync(join(scratch.path, 'state'))
makeLabNetwork(2)
const serve = () => start(t, ['serve', '--config', config])
const machines = async (...words: string[]) =>
  (await run(['machine', ...words, '--state-dir', join(scratch.path, 'state')])).stdout

t.test('two machines boot, keep what they change, and see nothing of each other', async (t) => {
  const before = await scratch.sh('find image -type f -exec sha256sum {} + | sort | sha256sum')
  let server = await serve()
  await startRouter(scratch)
  const dnsmasq = await startDnsmasq(scratch, config, 'proxy')
  const one = startMachine(scratch, { number: 0, mac: ONE })
  await one.waitFor(/init: one is up as [0-9a-f]{32}/, 240_000).catch((error) => {
    throw new Error(`${error.message}\n${dnsmasq.log()}\n${server.stderr()}`)
  })
  const two = startMachine(scratch, { number: 1, mac: TWO })
  await one.sh('echo changed > /etc/own; mkdir -p /srv/a; cat /proc/mounts | grep nfs')
  await two.waitFor(/init: two is up as [0-9a-f]{32}/, 240_000)
  await two.sh('test ! -e /etc/own; echo other > /etc/other')
  await one.sh('test ! -e /etc/other')
  t.match(await machines('list'), /^one +52:54:00:78:00:01 +10\.78\.0\.1\d\d +tiny +running /m)

  await server.stop('SIGKILL')
  one.type('echo while-away > /etc/late; sync; echo is-there')
  server = await serve()
  await one.waitFor(/^is-there/m, 180_000)
  await two.sh('cat /etc/other')

  one.type('reboot -f')
  await one.waitFor(/init: one is up/, 240_000)
  t.match(await one.sh('cat /etc/own /etc/late'), /changed\nwhile-away/)
  one.type('poweroff -f')
  two.type('poweroff -f')
  t.same(await Promise.all([one.off, two.off]), [0, 0])
  t.equal(
    await scratch.sh('find image -type f -exec sha256sum {} + | sort | sha256sum'),
    before,
    'the image is as it was',
  )
  t.equal(await server.stop(), 0)
})
