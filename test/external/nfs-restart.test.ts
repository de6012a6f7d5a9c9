import { watch } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { mountNfs } from './helpers/nfs-mount.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote } from './helpers/shell.ts'

t.setTimeout(1_800_000)
const scratch = makeScratch(t)
const booting = bootKernelClient(scratch)
const layers = {
  lowerdir: [`${scratch.path}/lower`],
  upperdir: `${scratch.path}/upper`,
  workdir: `${scratch.path}/work`,
}

/** A program in forty files whose output depends on all of them, two hundred other files, their checksums, and an archive of it all. */
const sources = String.raw`
mkdir lower project && cd project
for n in $(seq 1 40); do
  echo "int part$((n + 1))(int); int part$n(int x) { return part$((n + 1))(x * 3 + $n) % 1000003; }" > "part$n.c"
done
echo 'int part41(int x) { return x; }' > part41.c
cat > main.c <<'END'
int part1(int);
static long call(long n, long a, long b, long c) {
  long r;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return r;
}
void _start(void) {
  char text[16];
  int n = 0, value = part1(5);
  do text[15 - n++] = '0' + value % 10; while (value /= 10);
  call(1, 1, (long)(text + 16 - n), n);
  call(60, 0, 0, 0);
}
END
printf 'OBJECTS = main.o %s\nprogram: $(OBJECTS)\n\ttcc -nostdlib -static -o $@ $(OBJECTS)\n%%.o: %%.c\n\ttcc -c -o $@ $<\n' \
  "$(seq -f 'part%g.o' -s ' ' 1 41)" > Makefile
mkdir -p data/deep/er
for n in $(seq 1 100); do seq "$n" 300 > "data/$n"; ln -s "../$n" "data/deep/$n"; head -c "$((n * 97))" /dev/urandom > "data/deep/er/$n"; done
head -c 3000001 /dev/urandom > large
find . -type f ! -name SUMS | sort | xargs sha256sum > SUMS
tar cf ../lower/project.tar .
make -s && ./program > ../result`

/** Rounds of work, each in a directory of its own, until nobody answers `go`. */
const workload = (port: number, result: string) => `
go() { [ "$(nc 10.0.2.2 ${port} < /dev/null)" = go ]; }
round=0
while go; do
  round=$((round + 1))
  mkdir "round-$round"
  tar xf project.tar -C "round-$round"
  (cd "round-$round" && make -s -j2 && [ "$(./program)" = ${result} ] && ./program > result)
  dd if=project.tar of="round-$round/copy.tar" bs=1M 2> /dev/null
  (cd "round-$round" && sha256sum -c --quiet SUMS && cmp copy.tar ../project.tar && touch finished)
done
echo "$round"`

/** Tells the client to go on until it is asked to stop. */
async function startControl(): Promise<{ port: number; stop(): void }> {
  let word = 'go'
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(word)
  })
  scratch.defer(() => void server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.address() as { port: number }
  return {
    port,
    stop: () => {
      word = 'stop'
    },
  }
}

/** Resolves when something changes in the upper: the client is at work again. */
async function clientWorks(): Promise<void> {
  const signal = AbortSignal.timeout(300_000)
  await new Promise<void>((resolve, reject) => {
    const watcher = watch(layers.upperdir, { recursive: true, signal }, () => {
      watcher.close()
      resolve()
    })
    watcher.on('error', reject)
  })
}

await scratch.sh(sources)
const client = await booting

for (const { options, kills } of [
  { options: ['vers=3', 'nconnect=4'], kills: 10 },
  { options: ['vers=4.2', 'nconnect=4'], kills: 3 },
]) {
  t.test(
    `a client with ${options} untars, compiles and copies while the server is killed, and never notices`,
    async (t) => {
      await scratch.sh('rm -rf upper work && mkdir upper work')
      const result = await scratch.sh('cat result')
      let overlayd = await startOverlayd(scratch, layers)
      const nfs = await mountNfs(client, overlayd.nfs, '/mnt/overlay', options)
      t.match(await client.sh('grep /mnt/overlay /proc/mounts'), /hard.*nconnect=4/)
      const control = await startControl()
      let over = false
      const work = nfs.sh(workload(control.port, result), 1_500_000).finally(() => {
        over = true
      })
      let state = 0x2545f491
      for (let kill = 1; kill <= kills && !over; kill++) {
        await Promise.race([clientWorks(), work])
        // Any moment will do, also while a request is half done.
        state = Math.imul(state, 0x41c64e6d) + 0x3039
        await delay(((state >>> 16) % 25) * 100)
        await overlayd.kill()
        overlayd = await startOverlayd(scratch, layers, { nfsPort: overlayd.nfs.port })
        t.comment(`killed and restarted ${kill} times`)
      }
      await Promise.race([clientWorks(), work])
      control.stop()
      const rounds = Number(await work)
      t.ok(rounds >= 1, `${rounds} rounds of work without an error`)

      await nfs.remount()
      const check = `for round in $(seq 1 ${rounds}); do
    (cd "round-$round" && sha256sum -c --quiet SUMS && cmp copy.tar ../project.tar && [ "$(cat result)" = ${result} ] && [ -e finished ])
  done && ls | wc -l`
      t.equal(Number(await nfs.sh(check, 600_000)), rounds + 1, 'the client reads all of it back')
      await nfs.unmount()
      await overlayd.stop()
      const upper = hostShell(layers.upperdir)
      await upper(`ln -s ${quote(layers.lowerdir[0] as string)}/project.tar . && { ${check}; }`)
      t.pass('and so it lies in the upper')
    },
  )
}
