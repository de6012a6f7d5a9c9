/**
 * Arguments that are not valid XDR, or exceed a limit of their type: truncated, too long, an enum or boolean outside its
 * values. The RPC reply is GARBAGE_ARGS. No stack is captured, because a malformed packet is not a fault of the program.
 */
export class XdrError extends Error {
  constructor(message: string) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = limit
    this.name = 'XdrError'
  }
}
