import { join } from 'node:path'
import t from 'tap'
import { NfsClient } from '../helpers/nfs-client.ts'
import { NLM_STATUS, NlmClient, type NlmLock } from '../helpers/nlm-client.ts'
import { RpcClient } from '../helpers/rpc-client.ts'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { CLIENT_ADDRESS, enterOwnNetwork, HOST_ADDRESS, SECOND_ADDRESS, TAP } from './helpers/own-network.ts'
import { makeScratch } from './helpers/scratch.ts'

// The real Linux client with its own rpcbind and rpc.statd mounts as anybody does, without an option, and locks. A second client, by raw calls from another address, sees what the
// server has granted.

enterOwnNetwork(import.meta.filename)
t.setTimeout(900_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch, { tap: TAP })
await scratch.sh('mkdir lower upper work')
const layers = {
  lowerdir: [join(scratch.path, 'lower')],
  upperdir: join(scratch.path, 'upper'),
  workdir: join(scratch.path, 'work'),
}
const start = () =>
  startOverlayd(scratch, layers, {
    exports: '10.77.0.0/24(rw,no_root_squash)',
    nfsHost: HOST_ADDRESS,
    nfsPort: 2049,
    flags: ['--portmap', '--lock-grace', '15'],
  })
let overlayd = await start()
const { sh } = await booting
await sh(`
  ip addr add ${CLIENT_ADDRESS}/24 dev eth1 && ip link set eth1 up
  rpcbind && rpc.statd
  mkdir -p /mnt/one /mnt/two`)

/** Runs a script in the background of the client; what it prints goes to /tmp/NAME, and its end is noted there. */
const background = (name: string, script: string) =>
  sh(`cat > /tmp/${name}.sh << 'END'
${script}
END
    (set +e; sh /tmp/${name}.sh > /tmp/${name} 2>&1; echo "ended $?" >> /tmp/${name}) < /dev/null > /dev/null 2>&1 &`)
/** Waits until a line is in /tmp/NAME. */
const until = (name: string, line: string) =>
  sh(
    `for i in $(seq 150); do grep -q '${line}' /tmp/${name} 2> /dev/null && exit 0; sleep 0.2; done; cat /tmp/${name}; exit 1`,
  )

/** A lock of a byte range in the words of perl: F_SETLK is 6, F_SETLKW 7; F_RDLCK 0, F_WRLCK 1, F_UNLCK 2. */
const range = (path: string, type: number, from: number, length: number, command = 6) =>
  `perl -e 'open(F, "+<", "${path}") or die; my $lock = pack("s s x4 q q i x4", ${type}, 0, ${from}, ${length}, 0); fcntl(F, ${command}, $lock) or die "refused: $!\\n"; $| = 1; print "locked\\n"; sleep 1000 if $ARGV[0]'`

/** Waits until so many requests for a lock wait at the server. */
async function untilWaiting(count: number): Promise<void> {
  for (let waiting = -1; waiting !== count; ) {
    const reply = await fetch(new URL('/-/status', overlayd.webdavUrl))
    const status = (await reply.json()) as { doors: { nfs: { counters: { locksWaiting: number } } } }
    waiting = status.doors.nfs.counters.locksWaiting
  }
}

/** Whether the client gets a lock on its second mount at once. */
const tryFlock = () => sh('flock -n /mnt/two/locked true && echo free || echo taken')

/** The second client: its own address, and the file's handle. */
async function secondClient() {
  const from = 700 + Math.floor(performance.now() % 300)
  const rpc = await RpcClient.connect(2049, from, SECOND_ADDRESS, HOST_ADDRESS)
  const nfs = new NfsClient(rpc)
  const root = await nfs.mount()
  const handle = (await nfs.lookup(root, 'locked')).handle!
  const nlm = new NlmClient(rpc, 'second')
  const at = (offset: bigint, length: bigint): NlmLock => ({ handle, owner: 'second', svid: 1, offset, length })
  return { nlm, at, close: () => rpc.close() }
}

t.test('a plain mount, as in every manual, with nothing but the name', async (t) => {
  await sh(
    `mount.nfs ${HOST_ADDRESS}:/overlay /mnt/one -o vers=3 && mount.nfs ${HOST_ADDRESS}:/overlay /mnt/two -o vers=3,nosharecache`,
  )
  const mounts = await sh(`grep nfs /proc/mounts`)
  t.match(mounts, /vers=3/)
  t.notMatch(mounts, 'nolock')
  await sh(`echo content > /mnt/one/locked; cat /mnt/two/locked`)
  t.match(await sh(`rpcinfo -p ${HOST_ADDRESS} 2> /dev/null || echo none`), /none|100021/)
})

t.test('flock between two mounts and a second client', async (t) => {
  await background('holder', 'exec flock /mnt/one/locked sh -c "echo locked; exec sleep 1000"')
  await until('holder', 'locked')
  t.match(await tryFlock(), 'taken')
  const second = await secondClient()
  t.match(await second.nlm.test(second.at(0n, 0n)), {
    status: NLM_STATUS.DENIED,
    holder: { exclusive: true, offset: 0n, length: 0n },
  })
  t.equal(await second.nlm.lock(second.at(0n, 0n)), NLM_STATUS.DENIED)
  await sh('killall sleep')
  await until('holder', 'ended')
  t.match(await tryFlock(), 'free', 'free at the end of the process')
  t.equal(await second.nlm.lock(second.at(0n, 0n)), NLM_STATUS.GRANTED)
  t.match(await tryFlock(), 'taken', 'and the other way round')
  t.equal(await second.nlm.unlock(second.at(0n, 0n)), NLM_STATUS.GRANTED)
  await second.close()
})

t.test('byte ranges of fcntl', async (t) => {
  await background('writer', `${range('/mnt/one/locked', 1, 0, 100)} hold`)
  await until('writer', 'locked')
  await sh(range('/mnt/two/locked', 1, 100, 50))
  await t.rejects(sh(range('/mnt/two/locked', 0, 99, 2)), /refused/)
  const second = await secondClient()
  t.match(await second.nlm.test(second.at(50n, 1n)), {
    status: NLM_STATUS.DENIED,
    holder: { offset: 0n, length: 100n },
  })
  t.equal((await second.nlm.test(second.at(100n, 0n))).status, NLM_STATUS.GRANTED)
  await second.close()
  await sh('killall perl')
  await until('writer', 'ended')
})

t.test('who waits is told at once when the lock is free; who was killed while waiting is forgotten', async (t) => {
  const second = await secondClient()
  t.equal(await second.nlm.lock(second.at(0n, 0n)), NLM_STATUS.GRANTED)
  await background('killed', 'exec flock /mnt/one/locked echo got-it')
  await background('waiter', `exec ${range('/mnt/two/locked', 1, 0, 10, 7)}`)
  await untilWaiting(2)
  await sh('killall flock')
  await until('killed', 'ended')
  await untilWaiting(1)
  const started = performance.now()
  t.equal(await second.nlm.unlock(second.at(0n, 0n)), NLM_STATUS.GRANTED)
  await until('waiter', 'locked')
  const ms = performance.now() - started
  t.ok(ms < 15_000, `${Math.round(ms)} ms: by the call-back, not by asking again after 30 s`)
  await until('waiter', 'ended 0')
  t.equal((await second.nlm.test(second.at(0n, 0n))).status, NLM_STATUS.GRANTED, 'nobody holds anything')
  t.notMatch(await sh('cat /tmp/killed'), 'got-it')
  await second.close()
})

t.test(
  'after the server was killed and started again the client has its locks back, and nobody got in between',
  async (t) => {
    await background('keeper', 'exec flock /mnt/one/locked sh -c "echo locked; exec sleep 1000"')
    await until('keeper', 'locked')
    await overlayd.kill()
    overlayd = await start()
    const second = await secondClient()
    let { status } = await second.nlm.test(second.at(0n, 0n))
    t.equal(status, NLM_STATUS.GRACE)
    t.equal(await second.nlm.lock(second.at(0n, 0n)), NLM_STATUS.GRACE)
    while (status === NLM_STATUS.GRACE) ({ status } = await second.nlm.test(second.at(0n, 0n)))
    t.equal(status, NLM_STATUS.DENIED, 'reclaimed')
    await sh('killall sleep')
    await until('keeper', 'ended')
    t.equal((await second.nlm.test(second.at(0n, 0n))).status, NLM_STATUS.GRANTED)
    t.match(await sh('cat /mnt/one/locked'), 'content')
    await second.close()
  },
)

t.test(
  'a client that says it has been rebooted, by the program that does so at its boot, has no locks any more',
  async (t) => {
    const second = await secondClient()
    await background('lost', 'flock /mnt/one/locked sh -c "echo locked; sleep 1000"')
    await until('lost', 'locked')
    t.equal((await second.nlm.test(second.at(0n, 0n))).status, NLM_STATUS.DENIED)
    t.match(await sh('ls /var/lib/nfs/sm'), HOST_ADDRESS, 'rpc.statd watches the server')
    await sh('sm-notify -f')
    let { status } = await second.nlm.test(second.at(0n, 0n))
    while (status === NLM_STATUS.DENIED) ({ status } = await second.nlm.test(second.at(0n, 0n)))
    t.equal(status, NLM_STATUS.GRANTED)
    t.equal(await second.nlm.lock(second.at(0n, 0n)), NLM_STATUS.GRANTED)
    await sh('killall sleep; killall sm-notify || true')
    await until('lost', 'ended')
    await second.close()
  },
)

t.test('unmounting leaves nothing behind', async () => {
  await sh('umount /mnt/one && umount /mnt/two')
  await overlayd.stop()
})
