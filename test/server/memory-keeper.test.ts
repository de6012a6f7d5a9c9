import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { beginCollecting, keepMemorySmall, type Memory } from '../../server/memory-keeper.ts'

const MIB = 1024 * 1024
const log = { debug: () => undefined }

/** A process with so much memory, which loses the next amount of `gains` each time that it gives back. */
class FakeMemory implements Memory {
  mib: number
  busyPart = 0
  looks = 0
  readonly done: string[] = []
  readonly #gains: number[]

  constructor(mib: number, ...gains: number[]) {
    this.mib = mib
    this.#gains = gains
  }

  resident(): number {
    this.looks++
    return this.mib * MIB
  }

  busy(): number {
    return this.busyPart
  }

  collect(): void {
    this.done.push('collect')
  }

  async giveBack(): Promise<void> {
    this.mib -= this.#gains.shift() ?? 0
    this.done.push('give back')
  }
}

/** Waits until the keeper has looked so many times more. */
async function looked(memory: FakeMemory, times: number): Promise<void> {
  for (const until = memory.looks + times; memory.looks < until; ) await sleep(1)
}

t.test(
  'after a load garbage is collected and memory given back, and again until there is no more to give',
  async (t) => {
    const memory = new FakeMemory(400, 150, 40, 1)
    t.teardown(keepMemorySmall(log, memory, 1))
    while (memory.done.length < 6) await sleep(1)
    t.same(memory.done, ['collect', 'give back', 'collect', 'give back', 'collect', 'give back'])
  },
)

t.test('without a gain it is tried more and more seldom, until memory has grown', async (t) => {
  const memory = new FakeMemory(400)
  t.teardown(keepMemorySmall(log, memory, 1))
  await looked(memory, 200)
  const attempts = memory.done.length / 2
  t.ok(attempts >= 3 && attempts <= 9, `${attempts} attempts`)
  const before = memory.done.length
  memory.mib += 20
  const looks = memory.looks
  while (memory.done.length < before + 2) await sleep(1)
  t.ok(memory.looks - looks < 8, 'at once after it has grown')
})

t.test('nothing is done while the server is busy, or small', async (t) => {
  const busy = new FakeMemory(400)
  busy.busyPart = 0.5
  const small = new FakeMemory(120)
  t.teardown(keepMemorySmall(log, busy, 1))
  t.teardown(keepMemorySmall(log, small, 1))
  await looked(busy, 10)
  await looked(small, 10)
  t.same([busy.done, small.done], [[], []])
})

t.test('a keeper whose system cannot give memory back gives up', async (t) => {
  const memory = new FakeMemory(400)
  const told: unknown[] = []
  memory.giveBack = async () => {
    throw new Error('no malloc_trim')
  }
  t.teardown(keepMemorySmall({ debug: (details: unknown) => told.push(details) }, memory, 1))
  while (told.length === 0) await sleep(1)
  await sleep(30)
  t.equal(told.length, 1)
})

t.test(
  'V8 begins to collect blocks outside of its heap that nobody uses, though nothing else is allocated',
  async (t) => {
    const before = process.memoryUsage().arrayBuffers
    const blocks = Array.from({ length: 40 }, () => Buffer.allocUnsafeSlow(MIB))
    t.ok(process.memoryUsage().arrayBuffers >= before + 40 * MIB)
    blocks.length = 0
    beginCollecting()
    // Less than the one block that was allocated to have it begin.
    while (process.memoryUsage().arrayBuffers > before + 10 * MIB) await sleep(10)
    t.pass('they are gone')
  },
)
