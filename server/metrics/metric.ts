import type { Latencies } from '../../overlay-core/index.ts'
import type { RunningServer } from '../running-server.ts'
import type { LoopLag } from './loop-lag.ts'

/** What is known when metrics are collected. */
export interface Observed {
  readonly server: RunningServer
  readonly lag: LoopLag
}

/** One value, with the values of the labels in their order. */
export type Sample<Value> = readonly [value: Value, ...labels: string[]]

/** A metric. Its values are read when somebody asks for them, so it costs nothing before. */
export type Metric = {
  readonly name: string
  /** A sentence without a full stop. */
  readonly meaning: string
  /** The names of labels. Their values are few: never a user or a path. */
  readonly labels: readonly string[]
} & (
  | { readonly type: 'counter' | 'gauge'; readonly read: (observed: Observed) => Iterable<Sample<number>> }
  | { readonly type: 'histogram'; readonly read: (observed: Observed) => Iterable<Sample<Latencies>> }
)
