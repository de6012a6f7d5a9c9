/**
 * Arguments that are not valid XDR, or break a limit of their type: cut short, over-long, an enum or boolean outside its
 * values. RPC answers GARBAGE_ARGS. No stack is captured: a malformed packet is an event, not a fault of the program.
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
