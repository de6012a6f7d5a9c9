import { type Auth, authSys, RpcClient, type XdrReader, XdrWriter } from './rpc-client.ts'

/** One operation of a COMPOUND: its number, its arguments, and how its results are read. */
export interface Op<T = unknown> {
  readonly number: number
  readonly args?: (out: XdrWriter) => void
  readonly result?: (from: XdrReader) => T
}

/** What an operation has answered. */
export interface Answer<T = unknown> {
  readonly number: number
  readonly status: number
  readonly value: T | undefined
}

/** The reply to a COMPOUND. */
export interface Reply {
  readonly status: number
  readonly answers: readonly Answer[]
}

/** A stateid: version and the rest. */
export interface StateidValue {
  readonly seqid: number
  readonly other: Buffer
}

export const ANONYMOUS: StateidValue = { seqid: 0, other: Buffer.alloc(12) }
export const BYPASS: StateidValue = { seqid: 0xffff_ffff, other: Buffer.alloc(12, 0xff) }
export const CURRENT: StateidValue = { seqid: 1, other: Buffer.alloc(12) }

const writeStateid = (out: XdrWriter, { seqid, other }: StateidValue) => out.u32(seqid).raw(other)
const readStateid = (from: XdrReader): StateidValue => ({ seqid: from.u32(), other: Buffer.from(from.fixed(12)) })
const nothing = () => undefined

/** A `bitmap4`. */
function writeBitmap(out: XdrWriter, bits: readonly number[]): void {
  const words = [0, 0, 0]
  for (const bit of bits) words[bit >>> 5]! |= 1 << (bit & 31)
  while (words.length > 0 && words.at(-1) === 0) words.pop()
  out.u32(words.length)
  for (const word of words) out.u32(word >>> 0)
}

function readBitmap(from: XdrReader): number[] {
  const bits: number[] = []
  const words = from.u32()
  for (let i = 0; i < words; i++) {
    const word = from.u32()
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit) & 1) bits.push(32 * i + bit)
  }
  return bits
}

/** Attributes as they came: which, and their bytes. */
export interface Attributes {
  readonly bits: readonly number[]
  readonly bytes: Buffer
}

function readAttributes(from: XdrReader): Attributes {
  return { bits: readBitmap(from), bytes: Buffer.from(from.opaque()) }
}

/** Attributes to set, in the order of their numbers. */
export type Setting = readonly (readonly [bit: number, write: (out: XdrWriter) => void])[]

function writeSetting(out: XdrWriter, setting: Setting): void {
  const values = new XdrWriter()
  for (const [, write] of setting) write(values)
  writeBitmap(
    out,
    setting.map(([bit]) => bit),
  )
  out.opaque(values.bytes())
}

export const sizeOf = (size: number): Setting[number] => [4, (out) => void out.u64(size)]
export const modeOf = (mode: number): Setting[number] => [33, (out) => void out.u32(mode)]
export const ownerOf = (owner: string): Setting[number] => [36, (out) => void out.string(owner)]

interface ChangeInfo {
  readonly atomic: boolean
  readonly before: bigint
  readonly after: bigint
}
const readChange = (from: XdrReader): ChangeInfo => ({ atomic: from.bool(), before: from.u64(), after: from.u64() })

/** What OPEN has answered. */
export interface Opened {
  readonly stateid: StateidValue
  readonly change: ChangeInfo
  readonly flags: number
  readonly set: readonly number[]
  readonly delegation: number
}

function readOpened(from: XdrReader): Opened {
  const stateid = readStateid(from)
  const change = readChange(from)
  const flags = from.u32()
  const set = readBitmap(from)
  const delegation = from.u32()
  if (delegation === 3) from.u32()
  return { stateid, change, flags, set, delegation }
}

/** Operations by their names in the RFC. */
export const op = {
  putrootfh: (): Op => ({ number: 24 }),
  putfh: (handle: Uint8Array): Op => ({ number: 22, args: (out) => out.opaque(handle) }),
  getfh: (): Op<Buffer> => ({ number: 10, result: (from) => Buffer.from(from.opaque()) }),
  lookup: (name: string): Op => ({ number: 15, args: (out) => out.string(name) }),
  lookupp: (): Op => ({ number: 16 }),
  savefh: (): Op => ({ number: 32 }),
  restorefh: (): Op => ({ number: 31 }),
  getattr: (...bits: number[]): Op<Attributes> => ({
    number: 9,
    args: (out) => writeBitmap(out, bits),
    result: readAttributes,
  }),
  access: (bits: number): Op<{ known: number; granted: number }> => ({
    number: 3,
    args: (out) => out.u32(bits),
    result: (from) => ({ known: from.u32(), granted: from.u32() }),
  }),
  readdir: (bits: readonly number[], cookie = 0n, maxBytes = 8192): Op<Listing> => ({
    number: 26,
    args: (out) => writeBitmap(out.u64(cookie).u64(0).u32(maxBytes).u32(maxBytes), bits),
    result: readListing,
  }),
  read: (stateid: StateidValue, offset: number, count: number): Op<{ eof: boolean; data: Buffer }> => ({
    number: 25,
    args: (out) => writeStateid(out, stateid).u64(offset).u32(count),
    result: (from) => ({ eof: from.bool(), data: Buffer.from(from.opaque()) }),
  }),
  write: (
    stateid: StateidValue,
    offset: number,
    data: string,
    stable = 2,
  ): Op<{ count: number; verifier: Buffer }> => ({
    number: 38,
    args: (out) => writeStateid(out, stateid).u64(offset).u32(stable).string(data),
    result: (from) => ({ count: from.u32(), committed: from.u32(), verifier: Buffer.from(from.fixed(8)) }),
  }),
  commit: (): Op<Buffer> => ({
    number: 5,
    args: (out) => out.u64(0).u32(0),
    result: (from) => Buffer.from(from.fixed(8)),
  }),
  open: (owner: string, how: OpenHow): Op<Opened> => ({
    number: 18,
    args: (out) => writeOpen(out, owner, how),
    result: readOpened,
  }),
  close: (stateid: StateidValue): Op<StateidValue> => ({
    number: 4,
    args: (out) => writeStateid(out.u32(0), stateid),
    result: readStateid,
  }),
  downgrade: (stateid: StateidValue, access: number, deny = 0): Op<StateidValue> => ({
    number: 21,
    args: (out) => writeStateid(out, stateid).u32(0).u32(access).u32(deny),
    result: readStateid,
  }),
  lock: (open: StateidValue, owner: string, range: Range): Op<StateidValue> => ({
    number: 12,
    args: (out) => {
      out.u32(range.exclusive === false ? 1 : 2).u32(range.reclaim ? 1 : 0)
      out.u64(range.offset).u64(range.length).u32(1).u32(0)
      writeStateid(out, open).u32(0).u64(0).string(owner)
    },
    result: readStateid,
  }),
  lockAgain: (lock: StateidValue, range: Range): Op<StateidValue> => ({
    number: 12,
    args: (out) => {
      out
        .u32(range.exclusive === false ? 1 : 2)
        .u32(0)
        .u64(range.offset)
        .u64(range.length)
        .u32(0)
      writeStateid(out, lock).u32(0)
    },
    result: readStateid,
  }),
  lockt: (owner: string, range: Range): Op => ({
    number: 13,
    args: (out) =>
      out
        .u32(range.exclusive === false ? 1 : 2)
        .u64(range.offset)
        .u64(range.length)
        .u64(0)
        .string(owner),
  }),
  locku: (lock: StateidValue, range: Range): Op<StateidValue> => ({
    number: 14,
    args: (out) => writeStateid(out.u32(2).u32(0), lock).u64(range.offset).u64(range.length),
    result: readStateid,
  }),
  create: (type: number, name: string, setting: Setting = [], target = ''): Op<ChangeInfo> => ({
    number: 6,
    args: (out) => {
      out.u32(type)
      if (type === 5) out.string(target)
      writeSetting(out.string(name), setting)
    },
    result: (from) => {
      const change = readChange(from)
      readBitmap(from)
      return change
    },
  }),
  remove: (name: string): Op<ChangeInfo> => ({ number: 28, args: (out) => out.string(name), result: readChange }),
  rename: (from: string, to: string): Op => ({
    number: 29,
    args: (out) => out.string(from).string(to),
    result: (reply) => [readChange(reply), readChange(reply)],
  }),
  link: (name: string): Op<ChangeInfo> => ({ number: 11, args: (out) => out.string(name), result: readChange }),
  setattr: (stateid: StateidValue, setting: Setting): Op<number[]> => ({
    number: 34,
    args: (out) => writeSetting(writeStateid(out, stateid), setting),
    result: readBitmap,
  }),
  readlink: (): Op<string> => ({ number: 27, result: (from) => from.string() }),
  secinfoNoName: (style = 0): Op<number[]> => ({
    number: 52,
    args: (out) => out.u32(style),
    result: (from) => Array.from({ length: from.u32() }, () => from.u32()),
  }),
  testStateids: (...stateids: StateidValue[]): Op<number[]> => ({
    number: 55,
    args: (out) => {
      out.u32(stateids.length)
      for (const stateid of stateids) writeStateid(out, stateid)
    },
    result: (from) => Array.from({ length: from.u32() }, () => from.u32()),
  }),
  freeStateid: (stateid: StateidValue): Op => ({ number: 45, args: (out) => writeStateid(out, stateid) }),
  reclaimComplete: (): Op => ({ number: 58, args: (out) => out.u32(0) }),
  seek: (stateid: StateidValue, offset: number, what: number): Op<{ eof: boolean; offset: bigint }> => ({
    number: 69,
    args: (out) => writeStateid(out, stateid).u64(offset).u32(what),
    result: (from) => ({ eof: from.bool(), offset: from.u64() }),
  }),
  allocate: (stateid: StateidValue, offset: number, length: number, number = 59): Op => ({
    number,
    args: (out) => writeStateid(out, stateid).u64(offset).u64(length),
  }),
  copy: (from: StateidValue, to: StateidValue, range: { from: number; to: number; count: number }): Op<bigint> => ({
    number: 60,
    args: (out) => {
      writeStateid(writeStateid(out, from), to)
      out.u64(range.from).u64(range.to).u64(range.count).u32(1).u32(1).u32(0)
    },
    result: (reply) => {
      reply.u32()
      const count = reply.u64()
      reply.u32()
      reply.fixed(8)
      reply.u64()
      return count
    },
  }),
  getxattr: (name: string): Op<string> => ({
    number: 72,
    args: (out) => out.string(name),
    result: (from) => from.string(),
  }),
  setxattr: (name: string, value: string, option = 0): Op => ({
    number: 73,
    args: (out) => out.u32(option).string(name).string(value),
    result: readChange,
  }),
  listxattrs: (): Op<string[]> => ({
    number: 74,
    args: (out) => out.u64(0).u32(4096),
    result: (from) => {
      from.u64()
      const names = Array.from({ length: from.u32() }, () => from.string())
      from.bool()
      return names
    },
  }),
  removexattr: (name: string): Op => ({ number: 75, args: (out) => out.string(name), result: readChange }),
}

/** A range to lock. */
export interface Range {
  readonly offset: bigint | number
  readonly length: bigint | number
  readonly exclusive?: boolean
  readonly reclaim?: boolean
}

/** How OPEN is asked. */
export interface OpenHow {
  readonly access?: number
  readonly deny?: number
  /** With a name it is looked up in the current directory; without one the current file is opened. */
  readonly name?: string
  readonly reclaims?: boolean
  readonly create?: 'unchecked' | 'guarded' | 'exclusive'
  readonly verifier?: Buffer
  readonly setting?: Setting
}

function writeOpen(out: XdrWriter, owner: string, how: OpenHow): void {
  const { access = 3, deny = 0, name, create, setting = [], verifier = Buffer.alloc(8, 1) } = how
  out.u32(0).u32(access).u32(deny).u64(0).string(owner)
  out.u32(create === undefined ? 0 : 1)
  if (create === 'exclusive') out.u32(3).raw(verifier)
  else if (create !== undefined) out.u32(create === 'guarded' ? 1 : 0)
  if (create !== undefined) writeSetting(out, setting)
  if (how.reclaims) out.u32(1).u32(0)
  else if (name === undefined) out.u32(4)
  else out.u32(0).string(name)
}

/** A page of a directory. */
export interface Listing {
  readonly entries: readonly { readonly name: string; readonly cookie: bigint; readonly attributes: Attributes }[]
  readonly eof: boolean
}

function readListing(from: XdrReader): Listing {
  from.fixed(8)
  const entries = from.list(() => ({ cookie: from.u64(), name: from.string(), attributes: readAttributes(from) }))
  return { entries, eof: from.bool() }
}

/** A failed operation. */
export class Nfs4Failure extends Error {
  readonly status: number

  constructor(status: number, number: number) {
    super(`operation ${number} has answered ${status}`)
    this.status = status
  }
}

/** A client of NFSv4.1 or 4.2 with one session, on a connection of its own. */
export class Nfs4TestClient {
  readonly rpc: RpcClient
  readonly auth: Auth
  readonly minor: number
  clientId = 0n
  session: Buffer = Buffer.alloc(16)
  /** The number of the last request of each slot. */
  readonly sequences: number[] = []

  constructor(rpc: RpcClient, auth: Auth, minor: number) {
    this.rpc = rpc
    this.auth = auth
    this.minor = minor
  }

  /** A connection without a client id. */
  static async connect(port: number, { auth = authSys(0, 0), minor = 2 }: { auth?: Auth; minor?: number } = {}) {
    return new Nfs4TestClient(await RpcClient.connect(port), auth, minor)
  }

  /** A connection with a session, whose client has nothing to reclaim. */
  static async start(
    port: number,
    options: { auth?: Auth; minor?: number; owner?: string; verifier?: string; reclaims?: boolean } = {},
  ): Promise<Nfs4TestClient> {
    const client = await Nfs4TestClient.connect(port, options)
    await client.exchangeId(options.owner ?? `test client ${Math.random()}`, options.verifier)
    await client.createSession()
    if (!options.reclaims) await client.run(op.reclaimComplete())
    return client
  }

  /** The reply to operations without SEQUENCE. */
  async bare(operations: readonly Op[], minor = this.minor): Promise<Reply> {
    const args = new XdrWriter().string('').u32(minor).u32(operations.length)
    for (const { number, args: write } of operations) {
      args.u32(number)
      write?.(args)
    }
    return readReply(await this.rpc.call([100003, 4, 1], this.auth, args.bytes()), operations)
  }

  /** The reply to operations in the session; the answer to SEQUENCE is left out. */
  async compound(
    operations: readonly Op[],
    { slot = 0, cache = false, sequence }: { slot?: number; cache?: boolean; sequence?: number } = {},
  ): Promise<Reply> {
    const number = sequence ?? (this.sequences[slot] ?? 0) + 1
    this.sequences[slot] = number
    const first: Op = {
      number: 53,
      args: (out) =>
        out
          .raw(this.session)
          .u32(number)
          .u32(slot)
          .u32(slot)
          .u32(cache ? 1 : 0),
      result: (from) => from.fixed(36),
    }
    const reply = await this.bare([first, ...operations])
    return { status: reply.status, answers: reply.answers.slice(1) }
  }

  /** Runs operations, and returns the value of the last one. @throws Nfs4Failure one has failed */
  async run<T>(...operations: readonly [...Op[], Op<T>]): Promise<T> {
    const { status, answers } = await this.compound(operations as readonly Op[])
    const last = answers.at(-1)
    if (status !== 0) throw new Nfs4Failure(status, last?.number ?? 53)
    return last!.value as T
  }

  /** The status of the last one of operations that was run. */
  async status(...operations: readonly Op[]): Promise<number> {
    return (await this.compound(operations)).status
  }

  /** The handle of a path from the pseudo-root. */
  async handle(path: string): Promise<Buffer> {
    const names = path.split('/').filter((name) => name !== '')
    return await this.run(op.putrootfh(), ...names.map((name) => op.lookup(name)), op.getfh())
  }

  async exchangeId(
    owner: string,
    verifier = 'verifier',
    flags = 0,
  ): Promise<{ id: bigint; sequence: number; flags: number }> {
    const exchange: Op<{ id: bigint; sequence: number; flags: number }> = {
      number: 42,
      args: (out) =>
        out
          .raw(Buffer.from(verifier.padEnd(8).slice(0, 8)))
          .string(owner)
          .u32(flags)
          .u32(0)
          .u32(0),
      result: (from) => {
        const value = { id: from.u64(), sequence: from.u32(), flags: from.u32() }
        from.u32()
        from.u64()
        from.opaque()
        from.opaque()
        from.u32()
        return value
      },
    }
    const { status, answers } = await this.bare([exchange])
    if (status !== 0) throw new Nfs4Failure(status, 42)
    const value = answers[0]!.value as { id: bigint; sequence: number; flags: number }
    this.clientId = value.id
    this.#createSequence = value.sequence
    return value
  }

  #createSequence = 1

  async createSession(limits: Partial<SessionLimits> = {}): Promise<void> {
    const { status, answers } = await this.bare([createSession(this.clientId, this.#createSequence, limits)])
    if (status !== 0) throw new Nfs4Failure(status, 43)
    this.#createSequence++
    this.session = answers[0]!.value as Buffer
    this.sequences.length = 0
  }

  async close(): Promise<void> {
    await this.rpc.close()
  }
}

/** What a session is asked for. */
export interface SessionLimits {
  readonly requestBytes: number
  readonly replyBytes: number
  readonly cachedBytes: number
  readonly operations: number
  readonly requests: number
}

/** CREATE_SESSION, whose value is the id of the session. */
export function createSession(clientId: bigint, sequence: number, limits: Partial<SessionLimits> = {}): Op<Buffer> {
  const { requestBytes = 1 << 20, replyBytes = 1 << 20, cachedBytes = 4096, operations = 32, requests = 16 } = limits
  return {
    number: 43,
    args: (out) => {
      out.u64(clientId).u32(sequence).u32(0)
      for (let channel = 0; channel < 2; channel++) {
        out.u32(0).u32(requestBytes).u32(replyBytes).u32(cachedBytes).u32(operations).u32(requests).u32(0)
      }
      out.u32(0x4000_0000).u32(1).u32(0)
    },
    result: (from) => {
      const id = Buffer.from(from.fixed(16))
      from.fixed(8 + 56)
      return id
    },
  }
}

function readReply(from: XdrReader, operations: readonly Op[]): Reply {
  const status = from.u32()
  from.opaque()
  const count = from.u32()
  const answers: Answer[] = []
  for (let i = 0; i < count; i++) {
    const number = from.u32()
    const own = from.u32()
    const value = own === 0 ? (operations[i]?.result ?? nothing)(from) : undefined
    answers.push({ number, status: own, value })
  }
  return { status, answers }
}
