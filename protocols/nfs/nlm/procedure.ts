import type { Lock } from '../locks/file-locks.ts'
import type { NlmHost } from './hosts.ts'

/** The result of a lock manager operation, sent in a reply or in a separate call. */
export interface Answer {
  /** As sent by the client. */
  readonly cookie: Buffer
  /** `nlm4_stats`. */
  readonly status: number
  readonly host: NlmHost
  /** The holder of a conflicting lock, for TEST. */
  readonly holder?: Lock | undefined
}
