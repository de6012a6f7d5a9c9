/** What an RPC server has seen since it started. */
export type Counters = {
  connections: number
  /** Connections closed at once because there were too many. */
  connectionsRefused: number
  /** Connections closed because of bytes that are not RPC, or break a limit. */
  garbage: number
  /** Connections closed because nothing was asked for long. */
  idle: number
  /** Connections closed because the peer stopped within a message, or stopped taking replies. */
  stalled: number
  calls: number
  /** Datagrams from addresses that no export is for. */
  datagramsDropped: number
  /** Calls of another RPC version, or with a bad credential. */
  denied: number
  /** Calls of a program, version or procedure that is not served. */
  unavailable: number
  garbageArgs: number
  systemErrors: number
  /** Calls answered from the duplicate request cache. */
  duplicates: number
  /** Of these, calls run again because an earlier process died before it had answered. */
  resumed: number
}

/** Counters at zero. */
export function newCounters(): Counters {
  return {
    connections: 0,
    connectionsRefused: 0,
    garbage: 0,
    idle: 0,
    stalled: 0,
    calls: 0,
    datagramsDropped: 0,
    denied: 0,
    unavailable: 0,
    garbageArgs: 0,
    systemErrors: 0,
    duplicates: 0,
    resumed: 0,
  }
}
