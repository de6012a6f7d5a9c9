import type { Lock } from '../locks/file-locks.ts'
import type { NlmHost } from './hosts.ts'

/** What an operation of the lock manager answers, in a reply or in a call of its own. */
export interface Answer {
  /** As the client sent it. */
  readonly cookie: Buffer
  /** `nlm4_stats`. */
  readonly status: number
  readonly host: NlmHost
  /** Who stands in the way, for TEST. */
  readonly holder?: Lock | undefined
}
