/** Counters of an RPC server since its start. */
export type Counters = {
  connections: number
  /** Connections closed at once because there were too many. */
  connectionsRefused: number
  /** Connections closed because of bytes that are not RPC, or break a limit. */
  garbage: number
  /** Connections closed because they were idle for too long. */
  idle: number
  /** Connections closed because the peer stopped sending a message or reading replies. */
  stalled: number
  /** Connections of addresses without an export, closed because of their age or to make room. */
  outsidersClosed: number
  /** Connections that continued encrypted, and those of them with a client certificate. */
  secured: number
  certified: number
  calls: number
  /** Datagrams from addresses without an export. */
  datagramsDropped: number
  /** Calls of another RPC version, or with a bad credential. */
  denied: number
  /** Calls of an unknown program, version or procedure. */
  unavailable: number
  garbageArgs: number
  systemErrors: number
  /** Calls answered from the duplicate request cache. */
  duplicates: number
  /** Calls that were run again because an earlier process died before it replied. */
  resumed: number
}

/** Returns counters that are all zero. */
export function newCounters(): Counters {
  return {
    connections: 0,
    connectionsRefused: 0,
    garbage: 0,
    idle: 0,
    stalled: 0,
    outsidersClosed: 0,
    secured: 0,
    certified: 0,
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
