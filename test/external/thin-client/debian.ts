import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { run, start } from '../../server/launch.ts'
import type { Guest } from '../helpers/guest-console.ts'
import { enterOwnNetwork } from '../helpers/own-network.ts'
import { makeScratch } from '../helpers/scratch.ts'
import { quote } from '../helpers/shell.ts'
import { LAB_ADDRESS, LAB_NETWORK, makeLabNetwork, startDnsmasq, startMachine } from '../helpers/thin-lab.ts'

// npm run test:thin-client: two machines boot a whole Debian through a real dnsmasq, iPXE and HTTP, with their root over NFS. Each installs a package, adds a user and
// writes files, and finds them after a restart. THIN_CLIENT_IMAGE names another image.

enterOwnNetwork(import.meta.filename)
t.setTimeout(3_600_000)
const BOOT_MS = 900_000
const scratch = makeScratch(t)
const cacheHome = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
const image = process.env.THIN_CLIENT_IMAGE ?? join(cacheHome, 'overlayd-thin-client/bookworm')
const ONE = '52:54:00:78:00:01'
const TWO = '52:54:00:78:00:02'
const config = join(scratch.path, 'overlayd.toml')
writeFileSync(
  config,
  `
[layers.debian]
path = ${JSON.stringify(image)}
[stacks.debian]
layers = ["debian"]
[views.debian]
stack = "debian"
upper = "per-machine"
directory = "views"
[exports.nfs]
view = "debian"
door = "nfs"
clients = ["${LAB_NETWORK}(rw,no_root_squash,async)"]
[webdav]
listen = "off"
[nfs]
listen = "${LAB_ADDRESS}:2049"
portmap = true
[boot]
listen = "${LAB_ADDRESS}:8081"
views = ["debian"]
check_mac = "always"
[groups.lab]
view = "debian"
console = "ttyS0"
# Emulated on a busy machine, a terminal may need longer to appear than the 90 s that systemd waits for it.
arguments = ["mitigations=off", "random.trust_cpu=on", "systemd.default_timeout_start_sec=900"]
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
const began = Date.now()
// At once, because tap keeps comments until the end of a test.
const note = (text: string) => console.error(`${Math.round((Date.now() - began) / 1000)} s: ${text}`)
const serve = () => start(t, ['serve', '--config', config])
const ask = async (...words: string[]) => (await run([...words, '--state-dir', join(scratch.path, 'state')])).stdout
const hash = () =>
  execFileSync(
    'bash',
    [
      '-c',
      `cd ${quote(image)} && find . -xdev -printf '%p %y %m %U:%G %s %l\\n' -type f -exec sha256sum {} + | sort | sha256sum`,
    ],
    {
      encoding: 'utf8',
    },
  )

/** Waits for the login prompt, and logs in. */
async function logIn(guest: Guest, name: string): Promise<void> {
  await guest.waitFor(new RegExp(`${name} login: `), BOOT_MS)
  guest.type('root')
  await guest.waitFor(new RegExp(`root@${name}:~# `), BOOT_MS)
  await guest.sh('stty -echo; systemctl is-system-running --wait; true', BOOT_MS)
}

const sh = (guest: Guest, script: string) => guest.sh(script, BOOT_MS)

t.test('two machines with Debian', async (t) => {
  await scratch.sh(`${quote(join(import.meta.dirname, 'build-debian'))} ${quote(image)}`, 1_800_000)
  const before = hash()
  note('the image is there')
  let server = await serve()
  await startDnsmasq(scratch, config, 'range')
  const machines: [Guest, string][] = [
    [startMachine(scratch, { number: 0, mac: ONE, memory: 1024 }), 'one'],
    [startMachine(scratch, { number: 1, mac: TWO, memory: 1024 }), 'two'],
  ]
  const [[one], [two]] = machines as [[Guest, string], [Guest, string]]
  const all = (work: (guest: Guest, name: string) => Promise<unknown>) =>
    Promise.all(machines.map(([guest, name]) => work(guest, name)))
  await all(logIn)
  note('both have a login')
  t.equal((await ask('machine', 'list')).match(/ running /g)?.length, 2)
  await all(async (guest, name) => {
    await sh(guest, `test "$(hostname)" = ${name}; mount | grep ' / type nfs'`)
    await sh(
      guest,
      `useradd -m user-${name} && echo ${name} > /home/user-${name}/own && dpkg -i /root/tree_*.deb && tree -L 1 / > /srv/tree`,
    )
  })
  t.not(await sh(one, 'cat /etc/machine-id'), await sh(two, 'cat /etc/machine-id'))
  await sh(one, 'test ! -e /home/user-two')
  await sh(two, 'test ! -e /home/user-one')
  note('each has a package, a user and a file of its own')

  await server.stop('SIGKILL')
  server = await serve()
  await all((guest) => sh(guest, 'dd if=/dev/zero of=/srv/large bs=1M count=8 conv=fsync; journalctl -n 1'))
  note('the server was killed and started again')

  await all(async (guest, name) => {
    guest.type('systemctl reboot')
    await logIn(guest, name)
    await sh(guest, `id user-${name} && grep ${name} /home/user-${name}/own && tree --version && test -s /srv/tree`)
  })
  note('both have booted again, and found what they left')
  t.match(await ask('diff', 'debian/one', '/home', '--name-only'), /user-one/)

  await all(async (guest) => {
    guest.type('systemctl poweroff')
    t.equal(await guest.off, 0)
    t.match(guest.printed(), /reboot: Power down|Power down/)
  })
  note('both are off')
  t.match(await ask('machine', 'reset', 'one', '--yes'), /before-reset/)
  const again = startMachine(scratch, { number: 0, mac: ONE, memory: 1024 })
  await logIn(again, 'one')
  await sh(again, '! id user-one && ! dpkg -s tree && test ! -e /srv/tree')
  note('the one that was reset is as new')
  again.type('systemctl poweroff')
  t.equal(await again.off, 0)
  t.equal(await server.stop(), 0)
  t.equal(hash(), before, 'the image is as it was')
})
