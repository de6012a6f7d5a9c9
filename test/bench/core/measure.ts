/** What one round of one side took, in nanoseconds per operation (or bytes, where a workload says so). */
export type Round = () => number | Promise<number>

/** The same work by up to three sides, measured in turn. */
export interface Sides {
  /** Plain calls of `node:fs` on a directory without any overlay. */
  readonly plain?: Round
  /** The same calls on the kernel's overlay over the same layers. */
  readonly kernel?: Round
  readonly core: Round
}

/** Something to be measured. `prepare` builds what it needs below a new directory. */
export interface Workload {
  readonly name: string
  readonly unit: 'time' | 'bytes'
  /** The figure of the core, or its ratio to the kernel's, is to stay at or below this. */
  readonly aim?: { readonly of: 'core' | 'ratio'; readonly most: number }
  /** A file system of its own: can files share blocks there, can it hold any number of files. */
  readonly disk?: 'xfs'
  /** @param dir does not exist yet */
  prepare(dir: string, sizes: Sizes): Promise<Prepared>
}

export interface Prepared {
  readonly sides: Sides
  /** What else is worth saying, asked after the last round. */
  note?(): string
  cleanUp(): Promise<void>
}

/** How much work a workload does: the real thing, or so little that a test can run it. */
export interface Sizes {
  readonly names: number
  readonly entries: number
  readonly smallFiles: number
  readonly mediumFiles: number
  readonly mediumBytes: number
  readonly largeBytes: number
  readonly memoryNames: number
  readonly treeFiles: number
}

export const FULL: Sizes = {
  names: 5_000,
  entries: 10_000,
  smallFiles: 200,
  mediumFiles: 20,
  mediumBytes: 1024 ** 2,
  largeBytes: 1024 ** 3,
  memoryNames: 200_000,
  treeFiles: 1_000_000,
}

export const TINY: Sizes = {
  names: 50,
  entries: 100,
  smallFiles: 3,
  mediumFiles: 2,
  mediumBytes: 64 * 1024,
  largeBytes: 1024 ** 2,
  memoryNames: 2_000,
  treeFiles: 2_000,
}

/** What the rounds of a workload gave. */
export interface Result {
  readonly workload: Workload
  readonly plain: number | undefined
  readonly kernel: number | undefined
  readonly core: number
  /** Core by kernel: the median of the ratios of single rounds, so that a slow minute of the machine does not count. */
  readonly ratio: number | undefined
  readonly note: string
}

/** Runs all sides in turn, `rounds` times, after one round that does not count; each round begins with another side. */
export async function measure(workload: Workload, dir: string, sizes: Sizes, rounds: number): Promise<Result> {
  const { sides, note, cleanUp } = await workload.prepare(dir, sizes)
  try {
    const names = (['plain', 'kernel', 'core'] as const).filter((side) => sides[side])
    const times: Record<string, number[]> = { plain: [], kernel: [], core: [] }
    // Memory is the same each time.
    const count = workload.unit === 'bytes' ? 1 : rounds
    for (let round = count > 1 ? -1 : 0; round < count; round++) {
      for (let i = 0; i < names.length; i++) {
        const side = names[(i + round + 1) % names.length] as 'plain' | 'kernel' | 'core'
        globalThis.gc?.()
        const time = await (sides[side] as Round)()
        if (round >= 0) (times[side] as number[]).push(time)
      }
    }
    const { plain, kernel, core } = times as { plain: number[]; kernel: number[]; core: number[] }
    const ratios = kernel.map((time, i) => (core[i] as number) / time)
    return {
      workload,
      plain: median(plain),
      kernel: median(kernel),
      core: median(core) as number,
      ratio: median(ratios),
      note: note?.() ?? '',
    }
  } finally {
    await cleanUp()
  }
}

/** Nanoseconds per operation of `operations` that `work` does. */
export async function timed(operations: number, work: () => void | Promise<void>): Promise<number> {
  const start = process.hrtime.bigint()
  const running = work()
  if (running) await running
  return Number(process.hrtime.bigint() - start) / operations
}

function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}
