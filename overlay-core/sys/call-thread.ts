/** A thread that makes system calls for the main thread (`call-threads.ts`), one slot after the other, until the process ends. */
import { parentPort, workerData } from 'node:worker_threads'
import koffi, { type KoffiFunc } from 'koffi'
import {
  Control,
  Fault,
  goesOn,
  LONG_CALL_MS,
  MOST_ARGUMENTS,
  SLOT_WORDS,
  SLOTS,
  Slot,
  STEP_WORDS,
  THREAD_WORDS,
  type ThreadData,
  ThreadState,
} from './thread-layout.ts'

type Call = KoffiFunc<(...args: number[]) => number>

/** A function of libc and how many arguments it takes. */
interface Bound {
  readonly call: Call
  readonly count: number
}

const EINTR = 4
const SIGKILL = 9
const EINVAL = 22
/** How often the busy polling thread checks the queue before it sleeps: about ten microseconds. */
const LOOKS = 1500

const { index, control: controlMemory, slots: slotMemory, prototypes, wakeFd } = workerData as ThreadData
const control = new Int32Array(controlMemory)
const slots = new Float64Array(slotMemory)
const libc = koffi.load(null)
const functions: (Bound | undefined)[] = []
const write = libc.func('int64_t write(int, uintptr_t, size_t)') as Call
const wakeByte = Buffer.alloc(8, 1)
const wakeByteAddress = Number(koffi.address(wakeByte))
const args: number[] = []
/** The position in the control memory where this thread records what it is doing. */
const own = Control.threads + index * THREAD_WORDS

parentPort?.postMessage('ready')
for (;;) {
  const slot = take()
  if (slot < 0) waitForCalls()
  else {
    runSlot(slot * SLOT_WORDS)
    const at = Atomics.add(control, Control.ended, 1)
    Atomics.store(control, Control.made + (at & (SLOTS - 1)), slot + 1)
    Atomics.store(control, own + ThreadState.slot, 0)
    if (Atomics.exchange(control, Control.wake, 0) === 1) write(wakeFd, wakeByteAddress, 1)
  }
}

/** Takes the next slot from the queue; -1 if there is none. */
function take(): number {
  for (;;) {
    const taken = Atomics.load(control, Control.taken)
    if (taken === Atomics.load(control, Control.asked)) return -1
    const slot = Atomics.load(control, Control.toMake + (taken & (SLOTS - 1)))
    control[own + ThreadState.progress] = 0
    if (Atomics.compareExchange(control, Control.taken, taken, (taken + 1) | 0) === taken) {
      Atomics.store(control, own + ThreadState.slot, slot + 1)
      return slot
    }
  }
}

/** Polls for a while, unless another thread does, then sleeps until there is work. */
function waitForCalls(): void {
  const asked = Atomics.load(control, Control.asked)
  if (Atomics.compareExchange(control, Control.lookout, 0, 1) === 0) {
    control[own + ThreadState.waits] = 1
    let looks = 0
    while (looks < LOOKS && Atomics.load(control, Control.asked) === asked) looks++
    control[own + ThreadState.waits] = 0
    Atomics.store(control, Control.lookout, 0)
    if (looks < LOOKS) return
  }
  Atomics.add(control, Control.sleeping, 1)
  control[own + ThreadState.waits] = 2
  if (Atomics.load(control, Control.taken) === Atomics.load(control, Control.asked)) {
    Atomics.wait(control, Control.asked, Atomics.load(control, Control.taken))
  }
  control[own + ThreadState.waits] = 0
  Atomics.sub(control, Control.sleeping, 1)
}

/** Makes the calls of the slot at `base` up to the first failure. */
function runSlot(base: number): void {
  const steps = slots[base + Slot.steps] as number
  const results = base + Slot.results
  for (let step = 0; step < steps; step++) {
    const at = base + Slot.program + step * STEP_WORDS
    const bound = functionOf(slots[at] as number)
    const flags = slots[at + 1] as number
    for (let i = 0; i < MOST_ARGUMENTS; i++) {
      const value = slots[at + 2 + i] as number
      args[i] = (flags & (1 << i)) === 0 ? value : (slots[results + value] as number)
    }
    const refused = passPoint(slots[at] as number)
    control[own + ThreadState.progress] = 2 * step + 1
    // Repeat an interrupted call.
    const result = refused > 0 && refused !== EINTR ? -refused : make(bound)
    passPoint(slots[at] as number)
    slots[results + step] = result
    control[own + ThreadState.progress] = 2 * step + 2
    if (!goesOn(flags, result)) {
      slots[base + Slot.steps] = step + 1
      return
    }
  }
}

/** Called before and after each call: applies a fault that a test has set. Returns an errno to report instead of making the call, or 0. */
function passPoint(number: number): number {
  if (Atomics.load(control, Control.faultIn) <= 0) return 0
  if (Atomics.sub(control, Control.faultIn, 1) !== 1) return 0
  Atomics.store(control, Control.struck, number)
  const fault = Atomics.load(control, Control.fault)
  if (fault === Fault.endThread) throw new Error('fault point')
  if (fault === Fault.kill) killProcess()
  return fault
}

function killProcess(): void {
  const getpid = libc.func('int getpid()') as Call
  const kill = libc.func('int kill(int, int)') as Call
  kill(Number(getpid()), SIGKILL)
  // Stops here even if another thread gets the signal first.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

function make(bound: Bound): number {
  const began = performance.now()
  const result = makeUninterrupted(bound)
  if (performance.now() - began > LONG_CALL_MS) Atomics.add(control, Control.long, 1)
  return result
}

function makeUninterrupted({ call, count }: Bound): number {
  try {
    for (;;) {
      const result = Number(invoke(call, count))
      if (result !== -1) return result
      const errno = koffi.errno()
      if (errno !== EINTR) return -errno
    }
  } catch {
    // koffi refused an argument. The thread must survive that.
    return -EINVAL
  }
}

function invoke(call: Call, count: number): number {
  const [a, b, c, d, e, f] = args as [number, number, number, number, number, number]
  switch (count) {
    case 0:
      return call()
    case 1:
      return call(a)
    case 2:
      return call(a, b)
    case 3:
      return call(a, b, c)
    case 4:
      return call(a, b, c, d)
    case 5:
      return call(a, b, c, d, e)
    default:
      return call(a, b, c, d, e, f)
  }
}

/** The function with this number; its pointers are taken as addresses. */
function functionOf(number: number): Bound {
  let bound = functions[number]
  if (bound === undefined) {
    const call = libc.func((prototypes[number] as string).replace(/(const )?void \*/g, 'uintptr_t')) as Call
    bound = { call, count: call.info.arguments.length }
    functions[number] = bound
  }
  return bound
}
