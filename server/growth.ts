import { LRUCache } from 'lru-cache'
import type { Clock } from './clock.ts'

/** What a view used, and when. */
export interface Sample {
  readonly atMs: number
  readonly bytes: number
}

/** More views are not remembered. */
const MOST = 20_000
/** How far back growth is told. */
const DAY_MS = 86_400_000
/** The interval of samples of a view. */
const STEP_MS = 3_600_000

/** How much the views with quotas have grown in a day, as far as this process has seen. A sample each hour of those that are open. */
export class Growth {
  readonly #samples = new LRUCache<string, Sample[]>({ max: MOST })
  readonly #wallNow: Clock

  constructor(wallNow: Clock) {
    this.#wallNow = wallNow
  }

  /** Notes what a view uses at present. */
  note(id: string, bytes: number): void {
    const nowMs = this.#wallNow()
    const samples = this.#samples.get(id) ?? []
    const last = samples.at(-1)
    if (last !== undefined && nowMs - last.atMs < STEP_MS) return
    samples.push({ atMs: nowMs, bytes })
    while (samples.length > 1 && nowMs - (samples[0] as Sample).atMs > DAY_MS) samples.shift()
    this.#samples.set(id, samples)
  }

  /** The oldest sample of a view within a day. */
  of(id: string): Sample | undefined {
    return this.#samples.peek(id)?.[0]
  }
}
