/**
 * The client closed the connection before its request was complete, so nobody is left to answer. It has no stack trace, which nobody reads: a thousand clients may
 * leave at once.
 */
export class ClientGone extends Error {
  constructor() {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super('the client closed the connection')
    Error.stackTraceLimit = limit
    this.name = 'ClientGone'
  }
}
