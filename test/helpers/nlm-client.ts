import type { Handle } from './nfs-client.ts'
import { type Auth, authSys, type RpcClient, type XdrReader, XdrWriter } from './rpc-client.ts'

export const NLM = 100021
export const NSM = 100024
export const PORTMAP = 100000

/** The numbers of the procedures. */
export const NLM_PROCEDURES = {
  NULL: 0,
  TEST: 1,
  LOCK: 2,
  CANCEL: 3,
  UNLOCK: 4,
  GRANTED: 5,
  TEST_MSG: 6,
  LOCK_MSG: 7,
  CANCEL_MSG: 8,
  UNLOCK_MSG: 9,
  GRANTED_MSG: 10,
  TEST_RES: 11,
  LOCK_RES: 12,
  CANCEL_RES: 13,
  UNLOCK_RES: 14,
  GRANTED_RES: 15,
  SHARE: 20,
  UNSHARE: 21,
  NM_LOCK: 22,
  FREE_ALL: 23,
} as const

export const NLM_STATUS = {
  GRANTED: 0,
  DENIED: 1,
  NOLOCKS: 2,
  BLOCKED: 3,
  GRACE: 4,
  DEADLCK: 5,
  STALE_FH: 7,
  FBIG: 8,
  FAILED: 9,
} as const

/** A lock as a client means it. */
export interface NlmLock {
  readonly handle: Handle
  readonly owner: string
  readonly svid: number
  readonly offset: bigint
  readonly length: bigint
}

export interface NlmHolder {
  readonly exclusive: boolean
  readonly svid: number
  readonly owner: string
  readonly offset: bigint
  readonly length: bigint
}

/** Options of LOCK. */
export interface LockHow {
  readonly block?: boolean
  readonly exclusive?: boolean
  readonly reclaim?: boolean
  readonly state?: number
}

/** Writes an `nlm4_lock`. */
export function writeLock(writer: XdrWriter, name: string, lock: NlmLock): XdrWriter {
  return writer.string(name).opaque(lock.handle).string(lock.owner).u32(lock.svid).u64(lock.offset).u64(lock.length)
}

/** Reads an `nlm4_lock`. */
export function readLock(reader: XdrReader): NlmLock & { name: string } {
  return {
    name: reader.string(),
    handle: Buffer.from(reader.opaque()),
    owner: reader.string(),
    svid: reader.u32(),
    offset: reader.u64(),
    length: reader.u64(),
  }
}

/** A small client of NLM version 4 over raw RPC. */
export class NlmClient {
  readonly rpc: RpcClient
  readonly name: string
  readonly auth: Auth
  #cookie = 0

  constructor(rpc: RpcClient, name = 'client', auth: Auth = authSys(0, 0)) {
    this.rpc = rpc
    this.name = name
    this.auth = auth
  }

  async call(procedure: keyof typeof NLM_PROCEDURES, args: Uint8Array): Promise<XdrReader> {
    return await this.rpc.call([NLM, 4, NLM_PROCEDURES[procedure]], this.auth, args)
  }

  /** LOCK; returns the status. */
  async lock(lock: NlmLock, how: LockHow = {}, procedure: 'LOCK' | 'NM_LOCK' = 'LOCK'): Promise<number> {
    return await this.#status(procedure, (writer) => this.lockArgs(writer, lock, how))
  }

  /** Writes `nlm4_lockargs` behind the cookie. */
  lockArgs(writer: XdrWriter, lock: NlmLock, { block, exclusive = true, reclaim, state = 1 }: LockHow): XdrWriter {
    writer.u32(block ? 1 : 0).u32(exclusive ? 1 : 0)
    return writeLock(writer, this.name, lock)
      .u32(reclaim ? 1 : 0)
      .u32(state)
  }

  async cancel(lock: NlmLock, how: LockHow = { block: true }): Promise<number> {
    return await this.#status('CANCEL', (writer) => {
      writer.u32(how.block ? 1 : 0).u32(how.exclusive === false ? 0 : 1)
      return writeLock(writer, this.name, lock)
    })
  }

  async unlock(lock: NlmLock): Promise<number> {
    return await this.#status('UNLOCK', (writer) => writeLock(writer, this.name, lock))
  }

  /** TEST; the holder when it is DENIED. */
  async test(lock: NlmLock, exclusive = true): Promise<{ status: number; holder: NlmHolder | undefined }> {
    const cookie = this.cookie()
    const writer = new XdrWriter().opaque(cookie).u32(exclusive ? 1 : 0)
    const reader = await this.call('TEST', writeLock(writer, this.name, lock).bytes())
    if (!reader.opaque().equals(cookie)) throw new Error('another cookie')
    const status = reader.u32()
    const holder =
      status === NLM_STATUS.DENIED
        ? {
            exclusive: reader.bool(),
            svid: reader.u32(),
            owner: reader.string(),
            offset: reader.u64(),
            length: reader.u64(),
          }
        : undefined
    reader.end()
    return { status, holder }
  }

  async share(handle: Handle, owner: string, deny: number, access: number): Promise<number> {
    return await this.#share('SHARE', handle, owner, deny, access)
  }

  async unshare(handle: Handle, owner: string): Promise<number> {
    return await this.#share('UNSHARE', handle, owner, 0, 0)
  }

  cookie(): Buffer {
    const cookie = Buffer.alloc(8)
    cookie.writeUInt32BE(++this.#cookie)
    return cookie
  }

  async #share(procedure: 'SHARE' | 'UNSHARE', handle: Handle, owner: string, deny: number, access: number) {
    const cookie = this.cookie()
    const writer = new XdrWriter().opaque(cookie).string(this.name).opaque(handle).string(owner)
    const reader = await this.call(procedure, writer.u32(deny).u32(access).u32(0).bytes())
    if (!reader.opaque().equals(cookie)) throw new Error('another cookie')
    const status = reader.u32()
    reader.u32()
    reader.end()
    return status
  }

  async #status(procedure: keyof typeof NLM_PROCEDURES, write: (writer: XdrWriter) => XdrWriter): Promise<number> {
    const cookie = this.cookie()
    const reader = await this.call(procedure, write(new XdrWriter().opaque(cookie)).bytes())
    if (!reader.opaque().equals(cookie)) throw new Error('another cookie')
    const status = reader.u32()
    reader.end()
    return status
  }
}
