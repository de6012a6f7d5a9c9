import { setThreadFault, struckFunction } from '../../overlay-core/sys/call.ts'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import { CallCounter, NO_FAULTS } from './fault-points.ts'
import { countPoints, pointsPassed, startThreads } from './threads.ts'

/** Lets one system call fail. */
export interface Injector {
  /** To be called before the first run. */
  ready(): Promise<void>
  /** Lists the calls from now on; `list` gives those since it was called last. */
  watch(): void
  list(): string[]
  /** Lets the `count`-th call from now on fail. */
  arm(count: number, errno: number): void
  /** Ends `watch` and `arm`. */
  rest(): void
  /** Which call failed: that with the number was `op` in the run that was watched. */
  struck(op: string): string
}

/** At the gate, where calls are made one by one. */
export class GateInjector implements Injector {
  #counter = new CallCounter(undefined, () => 0)

  async ready(): Promise<void> {
    this.rest()
  }

  watch(): void {
    setFaultPoints(this.#counter)
  }

  list(): string[] {
    return this.#counter.seen.splice(0).map(({ op }) => op)
  }

  arm(count: number, errno: number): void {
    setFaultPoints(new CallCounter({ when: 'before', count }, () => errno))
  }

  rest(): void {
    setFaultPoints(NO_FAULTS)
  }

  struck(op: string): string {
    return op
  }
}

/** In the threads that make several calls on one trip. */
export class ThreadInjector implements Injector {
  async ready(): Promise<void> {
    await startThreads()
  }

  watch(): void {
    countPoints()
  }

  list(): string[] {
    const passed = pointsPassed()
    countPoints()
    return new Array(Math.ceil(passed / 2)).fill('')
  }

  arm(count: number, errno: number): void {
    setThreadFault(2 * count - 1, errno)
  }

  rest(): void {
    setThreadFault(0, 0)
  }

  struck(): string {
    return struckFunction()
  }
}
