import type { Latencies, MaybePromise } from '../../../overlay-core/index.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import type { RpcCall } from './call.ts'
import { GARBAGE_ARGS, PROC_UNAVAIL, PROG_MISMATCH, PROG_UNAVAIL, SYSTEM_ERR } from './constants.ts'
import type { Counters } from './counters.ts'
import type { ClientDuplicates, DuplicateEntry } from './duplicate-cache.ts'
import type { GroupCache } from './group-cache.ts'
import type { Logger } from './logger.ts'
import type { ProgramTable, RpcProcedure, RpcProgram } from './program.ts'

/** Finds the procedure of a call, runs it, and ensures that every call gets exactly one reply. */
export class Dispatcher {
  readonly #programs: ProgramTable
  readonly #counters: Counters
  readonly #log: Logger
  readonly #now: () => number
  readonly #groups: GroupCache | undefined
  /** When the next call begins. */
  #beganMs = 0

  constructor(programs: ProgramTable, counters: Counters, log: Logger, now: () => number, groups?: GroupCache) {
    this.#programs = programs
    this.#counters = counters
    this.#log = log
    this.#now = now
    this.#groups = groups
  }

  /**
   * Must be called before the first of several calls that are processed one directly after the other. The next one begins when the one before has ended, because reading
   * the clock twice takes too long for the fastest calls.
   */
  begin(): void {
    this.#beganMs = this.#now()
  }

  /**
   * Processes the call whose message is in `call.args`. Never rejects.
   *
   * @throws XdrError it is not an RPC call, so there can be no reply
   */
  dispatch(call: RpcCall, duplicates: ClientDuplicates): MaybePromise<void> {
    const { args } = call
    const start = args.pos
    this.#counters.calls++
    if (!call.readHeader()) {
      this.#counters.denied++
      call.finish()
      return
    }
    const groups = this.#groups?.apply(call.credential, call.peer.address)
    if (groups !== undefined)
      return groups.then(() => {
        this.begin()
        return this.#start(call, duplicates, start)
      })
    return this.#start(call, duplicates, start)
  }

  /** Continues after the header of a message that starts at `start`. */
  #start(call: RpcCall, duplicates: ClientDuplicates, start: number): MaybePromise<void> {
    const program = this.#programs.find(call.program, call.version)
    const procedure = program?.procedures[call.procedure]
    if (procedure === undefined) {
      this.#refuse(call, program)
    } else if (call.answeredBy?.answer !== undefined) {
      const answered = call.answeredBy.answer(call)
      if (answered instanceof Promise) return answered.then(() => call.finish())
      call.finish()
    } else if (isOnce(procedure, call)) {
      return this.#runOnce(call, procedure, duplicates, start)
    } else {
      return this.#run(call, procedure, undefined)
    }
  }

  /** Replies to a call of a procedure that does not exist; `program` is undefined if the program or its version does not. */
  #refuse(call: RpcCall, program: RpcProgram | undefined): void {
    this.#counters.unavailable++
    const versions = program === undefined ? this.#programs.versions(call.program) : undefined
    if (program !== undefined) call.beginAccepted(PROC_UNAVAIL)
    else if (versions === undefined) call.beginAccepted(PROG_UNAVAIL)
    else call.refuseVersion(PROG_MISMATCH, versions)
    call.finish()
  }

  #runOnce(call: RpcCall, procedure: RpcProcedure, duplicates: ClientDuplicates, start: number): MaybePromise<void> {
    const { digest } = duplicates
    const checksum = digest.ofCall(call, start)
    const nowMs = this.#now()
    const earlier = duplicates.find(call, checksum, nowMs)
    if (earlier === undefined) {
      const entry = procedure.outlives
        ? duplicates.addOutliving(call, checksum, digest.ofArguments(call), nowMs)
        : duplicates.add(call, checksum, nowMs)
      return this.#run(call, procedure, entry)
    }
    this.#counters.duplicates++
    if (earlier.interrupted !== undefined) {
      this.#counters.resumed++
      call.interruption = duplicates.resume(earlier, earlier.interrupted)
      return this.#run(call, procedure, earlier)
    }
    if (!earlier.running && earlier.reply === undefined && procedure.repeatsLong) {
      return this.#run(call, procedure, undefined)
    }
    if (earlier.running) return earlier.wait().then((reply) => this.#replay(call, reply))
    this.#replay(call, earlier.reply)
  }

  #replay(call: RpcCall, reply: Uint8Array | undefined): void {
    if (reply === undefined) call.beginAccepted(SYSTEM_ERR)
    else call.replay(reply)
    call.finish()
  }

  #run(call: RpcCall, procedure: RpcProcedure, entry: DuplicateEntry | undefined): MaybePromise<void> {
    const beganMs = this.#beganMs
    try {
      const result = procedure.run(call)
      if (result instanceof Promise) {
        return result.then(
          () => this.#finish(call, entry, beganMs),
          (error) => {
            this.#failed(call, procedure, error)
            this.#finish(call, entry, beganMs)
          },
        )
      }
    } catch (error) {
      this.#failed(call, procedure, error)
    }
    this.#finish(call, entry, beganMs)
  }

  #latenciesOf({ program, version, procedure }: RpcCall): Latencies | undefined {
    return this.#programs.find(program, version)?.latencies[procedure]
  }

  #failed(call: RpcCall, procedure: RpcProcedure, error: unknown): void {
    if (error instanceof XdrError) {
      this.#counters.garbageArgs++
      // Log one line per connection, because a client that sends garbage can send much of it.
      const level = call.peer.complained ? 'debug' : 'warn'
      call.peer.complained = true
      this.#log[level](
        { client: call.peer.address, procedure: procedure.name, why: error.message },
        'malformed arguments',
      )
      call.beginAccepted(GARBAGE_ARGS)
    } else {
      this.#counters.systemErrors++
      this.#log.error({ err: error, client: call.peer.address, procedure: procedure.name }, 'request failed')
      call.beginAccepted(SYSTEM_ERR)
    }
  }

  #finish(call: RpcCall, entry: DuplicateEntry | undefined, beganMs: number): void {
    const endMs = this.#now()
    this.#beganMs = endMs
    this.#latenciesOf(call)?.add(endMs - beganMs)
    if (!call.answered) call.beginAccepted(SYSTEM_ERR)
    entry?.complete(call)
    call.finish()
  }
}

function isOnce({ nonIdempotent }: RpcProcedure, call: RpcCall): boolean {
  return typeof nonIdempotent === 'boolean' ? nonIdempotent : nonIdempotent(call)
}
