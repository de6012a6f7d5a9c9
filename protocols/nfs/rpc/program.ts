import type { MaybePromise } from '../../../overlay-core/index.ts'
import type { RpcCall } from './call.ts'

/** One procedure of an RPC program. */
export interface RpcProcedure {
  /** As in its RFC, for the log. */
  readonly name: string
  /** Running it a second time would answer otherwise: its replies are kept for clients that ask again. */
  readonly nonIdempotent: boolean
  /** That also holds for the process after this one: see `ReplyStore`. */
  readonly outlives?: boolean
  /**
   * Reads `call.args` and writes the results to `call.begin(…)`, before it returns or its promise resolves.
   * XdrError answers GARBAGE_ARGS; anything else thrown is a fault of the server and answers SYSTEM_ERR.
   */
  run(call: RpcCall): MaybePromise<void>
}

/** A version of an RPC program: its procedures by their numbers. */
export interface RpcProgram {
  readonly number: number
  readonly version: number
  readonly procedures: readonly RpcProcedure[]
}

/** The versions served of a program that was asked for with another one. */
export interface VersionRange {
  readonly low: number
  readonly high: number
}

/** The programs of a server, found by number and version. */
export class ProgramTable {
  readonly #programs: readonly RpcProgram[]

  constructor(programs: readonly RpcProgram[]) {
    this.#programs = programs
  }

  /** The program, undefined when it is not served in this version. */
  find(number: number, version: number): RpcProgram | undefined {
    for (const program of this.#programs) {
      if (program.number === number && program.version === version) return program
    }
    return undefined
  }

  /** The versions served of a program, undefined when there is none. */
  versions(number: number): VersionRange | undefined {
    const versions = this.#programs.filter((program) => program.number === number).map((program) => program.version)
    return versions.length === 0 ? undefined : { low: Math.min(...versions), high: Math.max(...versions) }
  }
}
