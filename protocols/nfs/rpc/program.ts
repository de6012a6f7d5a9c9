import { Latencies, type MaybePromise } from '../../../overlay-core/index.ts'
import type { RpcCall } from './call.ts'

/** One procedure of an RPC program. */
export interface RpcProcedure {
  /** Its name in the RFC, for the log. */
  readonly name: string
  /** Whether it is non-idempotent: its replies are cached for retransmissions. A function reads that from the arguments, without consuming them. */
  readonly nonIdempotent: boolean | ((call: RpcCall) => boolean)
  /** Whether a retransmission is executed again if the reply was too long to be cached; otherwise it fails. */
  readonly repeatsLong?: boolean
  /** Whether this must also work across a restart: see `ReplyStore`. */
  readonly outlives?: boolean
  /**
   * Reads `call.args` and writes the results to `call.begin(…)`, before it returns or its promise resolves.
   * An XdrError becomes GARBAGE_ARGS; any other exception is a fault of the server and becomes SYSTEM_ERR.
   */
  run(call: RpcCall): MaybePromise<void>
}

/** A version of an RPC program: its procedures by number. */
export interface RpcProgram {
  readonly number: number
  readonly version: number
  readonly procedures: readonly RpcProcedure[]
}

/** A program with the times that its procedures have taken, in the same order. */
export interface ServedProgram extends RpcProgram {
  readonly latencies: readonly Latencies[]
}

/** The supported versions of a program that was called with another one. */
export interface VersionRange {
  readonly low: number
  readonly high: number
}

/** The programs of a server, found by number and version. */
export class ProgramTable {
  readonly #programs: readonly ServedProgram[]

  constructor(programs: readonly RpcProgram[]) {
    this.#programs = programs.map((program) => ({
      ...program,
      latencies: program.procedures.map(() => new Latencies()),
    }))
  }

  list(): readonly ServedProgram[] {
    return this.#programs
  }

  /** The program; undefined if this version is not supported. */
  find(number: number, version: number): ServedProgram | undefined {
    for (const program of this.#programs) {
      if (program.number === number && program.version === version) return program
    }
    return undefined
  }

  /** The supported versions of a program; undefined if there is none. */
  versions(number: number): VersionRange | undefined {
    const versions = this.#programs.filter((program) => program.number === number).map((program) => program.version)
    return versions.length === 0 ? undefined : { low: Math.min(...versions), high: Math.max(...versions) }
  }
}
