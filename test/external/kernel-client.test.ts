import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { bootKernelClient } from './helpers/kernel-client.ts'
import { makeScratch } from './helpers/scratch.ts'

const scratch = makeScratch(t)
const folder = fileURLToPath(new URL('./kernel-client', import.meta.url))
const packed = createHash('sha256').update(readFileSync(join(folder, 'init')))
packed.update(readFileSync(join(folder, 'build-initramfs')))
const initramfs = `initramfs-${packed.digest('hex').slice(0, 16)}.cpio`

/**
 * Stands in for qemu: answers a monitor, whatever the accelerator; a guest that comes up connects to the port, as the real one does, or ends with its
 * script. `kvm` and `tcg` are what a guest does with each.
 */
const FAKE_QEMU = `#!/bin/bash
case "$*" in *'-monitor stdio'*) exit 0 ;; esac
with=tcg; case "$*" in *'-accel kvm'*) with=kvm ;; esac
echo "$with" >> "$FAKE/guests"
printf 'Booting from ROM...\\nProbing EDD (edd=off to disable)... '
case $(cat "$FAKE/$with") in
  hangs) exec sleep 1000 ;;
  ends) printf '\\nqemu-system-x86_64: out of luck\\n'; exit 1 ;;
esac
printf 'ok\\n--- up after 1.00 s\\n'
port=$(sed -n 's/.*overlayd\\.shell=\\([0-9]*\\).*/\\1/p' <<< "$*")
if [ -n "$port" ]; then exec 3<> "/dev/tcp/127.0.0.1/$port" && cat <&3 > /dev/null; fi
printf -- '--- status 0\\n'
`

type Guest = 'hangs' | 'ends' | 'comes up'
let machines = 0

/** A machine with such a qemu, and with or without a /dev/kvm. */
function machine({ kvm, tcg, device = true }: { kvm: Guest; tcg: Guest; device?: boolean }) {
  const fake = join(scratch.path, `machine-${machines++}`)
  mkdirSync(join(fake, 'cache/boot'), { recursive: true })
  mkdirSync(join(fake, 'bin'))
  writeFileSync(join(fake, 'bin/qemu-system-x86_64'), FAKE_QEMU)
  chmodSync(join(fake, 'bin/qemu-system-x86_64'), 0o755)
  writeFileSync(join(fake, 'cache/boot/vmlinuz-1'), '')
  writeFileSync(join(fake, 'cache', initramfs), '')
  writeFileSync(join(fake, 'kvm'), kvm)
  writeFileSync(join(fake, 'tcg'), tcg)
  if (device) writeFileSync(join(fake, 'device'), '')
  const env = {
    FAKE: fake,
    PATH: `${join(fake, 'bin')}:${process.env.PATH}`,
    KERNEL_CLIENT_ACCEL: undefined,
    KERNEL_CLIENT_CACHE: join(fake, 'cache'),
    KERNEL_CLIENT_KVM: join(fake, 'device'),
    KERNEL_CLIENT_KVM_SECONDS: '2',
  }
  return {
    env,
    memory: join(fake, 'cache/accelerator'),
    /** The guests that were started since this was last asked, by their accelerator. */
    guests: () => {
      const path = join(fake, 'guests')
      const started = existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : []
      rmSync(path, { force: true })
      return started
    },
  }
}

t.test(
  'a /dev/kvm that answers a monitor and hangs every guest: emulation is taken, said and remembered',
  async (t) => {
    const { env, memory, guests } = machine({ kvm: 'hangs', tcg: 'comes up' })
    const first = await bootKernelClient(scratch, { env, timeoutMs: 60_000 })
    t.match(first.accelerator, /software emulation, .* not come up within 2 s; .* Probing EDD \(edd=off to disable\)/)
    t.same(guests(), ['kvm', 'tcg'])
    first.stop()

    const second = await bootKernelClient(scratch, { env, timeoutMs: 60_000 })
    t.equal(second.accelerator, first.accelerator)
    t.same(guests(), ['tcg'], 'KVM is not tried again')
    second.stop()

    const twoHoursAgo = new Date(Date.now() - 7_200_000)
    utimesSync(memory, twoHoursAgo, twoHoursAgo)
    const third = await bootKernelClient(scratch, { env, timeoutMs: 60_000 })
    t.same(guests(), ['kvm', 'tcg'], 'what was found out long ago is not believed')
    third.stop()
  },
)

t.test('two clients that boot at once find it out once', async (t) => {
  const { env, guests } = machine({ kvm: 'hangs', tcg: 'comes up' })
  const clients = await Promise.all([0, 1].map(() => bootKernelClient(scratch, { env, timeoutMs: 60_000 })))
  t.same(guests().sort(), ['kvm', 'tcg', 'tcg'])
  for (const client of clients) client.stop()
})

t.test('a /dev/kvm with which guests come up is used', async (t) => {
  const { env, guests } = machine({ kvm: 'comes up', tcg: 'hangs' })
  const client = await bootKernelClient(scratch, { env, timeoutMs: 60_000 })
  t.match(client.accelerator, /runs with KVM/)
  t.same(guests(), ['kvm', 'kvm'])
  client.stop()
})

t.test('without /dev/kvm, or with one that refuses, it is emulation', async (t) => {
  const without = machine({ kvm: 'comes up', tcg: 'comes up', device: false })
  const client = await bootKernelClient(scratch, { env: without.env, timeoutMs: 60_000 })
  t.match(client.accelerator, /software emulation, as .*device is not there/)
  t.same(without.guests(), ['tcg'])
  client.stop()

  const refusing = machine({ kvm: 'ends', tcg: 'comes up' })
  const other = await bootKernelClient(scratch, { env: refusing.env, timeoutMs: 60_000 })
  t.match(other.accelerator, /software emulation, .*out of luck/)
  t.same(refusing.guests(), ['kvm', 'tcg'])
  other.stop()
})

t.test('a client that does not come up says all that qemu printed', async (t) => {
  const hanging = machine({ kvm: 'hangs', tcg: 'hangs', device: false })
  await t.rejects(bootKernelClient(scratch, { env: hanging.env, timeoutMs: 3000 }), {
    message: /did not come up within 3 s.*Booting from ROM.*Probing EDD \(edd=off to disable\)/s,
  })
  const ending = machine({ kvm: 'hangs', tcg: 'ends', device: false })
  await t.rejects(bootKernelClient(scratch, { env: ending.env, timeoutMs: 60_000 }), {
    message: /ended with 1.*Booting from ROM.*Probing EDD.*out of luck/s,
  })
})
