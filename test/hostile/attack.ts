import type { Arena } from './arena.ts'

/** One number, and how large it may be. */
export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The most that is borne; none: it is told only. */
  readonly limit?: number
}

/** One thing that has to be so. */
export interface Check {
  readonly name: string
  readonly ok: boolean
  /** What was seen. */
  readonly detail: string
}

/** Who attacks: a neighbour without export rule or login, a client with one, a user of the same machine, whoever made a layer, a web page. */
export type Attacker = 'outsider' | 'client' | 'local user' | 'layer author' | 'web page'

/** One attack. It has to leave nothing behind but what lies in the arena's folder. */
export interface Attack {
  readonly name: string
  readonly by: Attacker
  /** What is done, in one sentence. */
  readonly what: string
  /** Whether the quick run has it too. */
  readonly quick: boolean
  run(arena: Arena): Promise<void>
}
