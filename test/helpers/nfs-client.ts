import {
  type Fattr,
  fattr,
  type Handle,
  type NewAttr,
  type NfsTime,
  postOp,
  sattr,
  type WccData,
  wccData,
} from './nfs-types.ts'
import { type Auth, authSys, RpcClient, type XdrReader, XdrWriter } from './rpc-client.ts'

export type { Handle } from './nfs-types.ts'

/** Program, version and procedure numbers. */
export const NFS = 100003
export const MOUNT = 100005

/** Statuses that tests name. */
export const STATUS = {
  OK: 0,
  PERM: 1,
  NOENT: 2,
  IO: 5,
  ACCES: 13,
  EXIST: 17,
  XDEV: 18,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  FBIG: 27,
  ROFS: 30,
  NAMETOOLONG: 63,
  NOTEMPTY: 66,
  STALE: 70,
  BADHANDLE: 10001,
  NOT_SYNC: 10002,
  BAD_COOKIE: 10003,
  TOOSMALL: 10005,
  SERVERFAULT: 10006,
  BADTYPE: 10007,
} as const

/** The numbers of the procedures, in order. */
export const PROCEDURES = [
  'NULL',
  'GETATTR',
  'SETATTR',
  'LOOKUP',
  'ACCESS',
  'READLINK',
  'READ',
  'WRITE',
  'CREATE',
  'MKDIR',
  'SYMLINK',
  'MKNOD',
  'REMOVE',
  'RMDIR',
  'RENAME',
  'LINK',
  'READDIR',
  'READDIRPLUS',
  'FSSTAT',
  'FSINFO',
  'PATHCONF',
  'COMMIT',
] as const
export type Procedure = (typeof PROCEDURES)[number]

/** One name of READDIR or READDIRPLUS. */
export interface Entry {
  readonly name: string
  readonly fileid: bigint
  readonly cookie: bigint
  readonly attr: Fattr | undefined
  readonly handle: Handle | undefined
}

/** What every answer has; the other fields are there when the answer holds them. */
export interface Answer {
  readonly status: number
  readonly attr?: Fattr | undefined
  readonly dirAttr?: Fattr | undefined
  readonly handle?: Handle | undefined
  readonly wcc?: WccData
  readonly wcc2?: WccData
}

export interface DirectoryAnswer extends Answer {
  readonly entries: Entry[]
  readonly eof: boolean
  /** Bytes of the answer after the status. */
  readonly size: number
}

export interface NumbersAnswer extends Answer {
  readonly numbers: Readonly<Record<string, number>>
}

/** How CREATE is to be done. */
export type CreateHow =
  | { readonly mode: 'unchecked' | 'guarded'; readonly attr?: NewAttr }
  | { readonly mode: 'exclusive'; readonly verifier: Buffer }

/** A small NFSv3 client over raw RPC: one method per procedure, which returns the whole answer decoded, also of errors. */
export class NfsClient {
  readonly rpc: RpcClient
  auth: Auth

  constructor(rpc: RpcClient, auth: Auth = authSys(0, 0)) {
    this.rpc = rpc
    this.auth = auth
  }

  static async connect(port: number, auth?: Auth, localPort?: number): Promise<NfsClient> {
    return new NfsClient(await RpcClient.connect(port, localPort), auth)
  }

  /** The same connection for another user. */
  as(uid: number, gid = uid, groups: readonly number[] = []): NfsClient {
    return new NfsClient(this.rpc, authSys(uid, gid, groups))
  }

  close(): Promise<void> {
    return this.rpc.close()
  }

  /** MNT of MOUNT version 3. */
  async mnt(path: string): Promise<{ status: number; handle: Handle; flavors: number[] }> {
    const reader = await this.rpc.call([MOUNT, 3, 1], this.auth, new XdrWriter().string(path).bytes())
    const status = reader.u32()
    if (status !== 0) return done(reader, { status, handle: Buffer.alloc(0), flavors: [] })
    const handle = reader.opaque()
    const flavors = Array.from({ length: reader.u32() }, () => reader.u32())
    return done(reader, { status, handle, flavors })
  }

  /** The handle of an export's root. */
  async mount(path = '/overlay'): Promise<Handle> {
    const { status, handle } = await this.mnt(path)
    if (status !== 0) throw new Error(`MNT ${path}: ${status}`)
    return handle
  }

  /** The answer of a procedure to arguments as they are, after its status. */
  async raw(procedure: Procedure, args: Uint8Array): Promise<{ status: number; reader: XdrReader }> {
    const reader = await this.rpc.call([NFS, 3, PROCEDURES.indexOf(procedure)], this.auth, args)
    return { status: reader.u32(), reader }
  }

  async null(): Promise<void> {
    const reader = await this.rpc.call([NFS, 3, 0], this.auth)
    reader.end()
  }

  async getattr(handle: Handle): Promise<Answer> {
    const { status, reader } = await this.raw('GETATTR', args().opaque(handle).bytes())
    return done(reader, status === 0 ? { status, attr: fattr(reader) } : { status })
  }

  async setattr(handle: Handle, attr: NewAttr, guard?: NfsTime): Promise<Answer> {
    const writer = args().opaque(handle)
    sattr(writer, attr).optional(guard, ({ sec, nsec }) => writer.u32(sec).u32(nsec))
    const { status, reader } = await this.raw('SETATTR', writer.bytes())
    return done(reader, { status, wcc: wccData(reader) })
  }

  async lookup(dir: Handle, name: string): Promise<Answer> {
    const { status, reader } = await this.raw('LOOKUP', args().opaque(dir).string(name).bytes())
    if (status !== 0) return done(reader, { status, dirAttr: postOp(reader) })
    const handle = reader.opaque()
    return done(reader, { status, handle, attr: postOp(reader), dirAttr: postOp(reader) })
  }

  /** The handle at `path`, from `dir` on. */
  async walk(dir: Handle, path: string): Promise<Handle> {
    let handle = dir
    for (const name of path.split('/')) {
      const answer = await this.lookup(handle, name)
      if (!answer.handle) throw new Error(`${path}: LOOKUP ${name}: ${answer.status}`)
      handle = answer.handle
    }
    return handle
  }

  async access(handle: Handle, bits: number): Promise<Answer & { bits: number }> {
    const { status, reader } = await this.raw('ACCESS', args().opaque(handle).u32(bits).bytes())
    const attr = postOp(reader)
    return done(reader, { status, attr, bits: status === 0 ? reader.u32() : 0 })
  }

  async readlink(handle: Handle): Promise<Answer & { target: string }> {
    const { status, reader } = await this.raw('READLINK', args().opaque(handle).bytes())
    const attr = postOp(reader)
    return done(reader, { status, attr, target: status === 0 ? reader.string() : '' })
  }

  async read(handle: Handle, offset: number | bigint, count: number): Promise<Answer & { data: Buffer; eof: boolean }> {
    const { status, reader } = await this.raw('READ', args().opaque(handle).u64(offset).u32(count).bytes())
    const attr = postOp(reader)
    if (status !== 0) return done(reader, { status, attr, data: Buffer.alloc(0), eof: false })
    const got = reader.u32()
    const eof = reader.bool()
    const data = Buffer.from(reader.opaque())
    if (data.length !== got) throw new Error('count is not the length of the data')
    return done(reader, { status, attr, data, eof })
  }

  async write(
    handle: Handle,
    offset: number | bigint,
    data: Uint8Array,
    stable: 0 | 1 | 2 = 2,
    count = data.length,
  ): Promise<Answer & { count: number; committed: number; verifier: string }> {
    const writer = args().opaque(handle).u64(offset).u32(count).u32(stable).opaque(data)
    const { status, reader } = await this.raw('WRITE', writer.bytes())
    const wcc = wccData(reader)
    if (status !== 0) return done(reader, { status, wcc, count: 0, committed: 0, verifier: '' })
    return done(reader, { status, wcc, count: reader.u32(), committed: reader.u32(), verifier: hex(reader) })
  }

  async create(
    dir: Handle,
    name: string,
    how: CreateHow = { mode: 'guarded', attr: { mode: 0o644 } },
  ): Promise<Answer> {
    const writer = args().opaque(dir).string(name)
    writer.u32(['unchecked', 'guarded', 'exclusive'].indexOf(how.mode))
    if (how.mode === 'exclusive') writer.raw(how.verifier)
    else sattr(writer, how.attr ?? {})
    return this.#make('CREATE', writer)
  }

  async mkdir(dir: Handle, name: string, attr: NewAttr = { mode: 0o755 }): Promise<Answer> {
    return this.#make('MKDIR', sattr(args().opaque(dir).string(name), attr))
  }

  async symlink(dir: Handle, name: string, target: string, attr: NewAttr = {}): Promise<Answer> {
    return this.#make('SYMLINK', sattr(args().opaque(dir).string(name), attr).string(target))
  }

  /** `type` is an `ftype3`; devices (3, 4) need `rdev`. */
  async mknod(dir: Handle, name: string, type: number, attr: NewAttr = {}, rdev?: [number, number]): Promise<Answer> {
    const writer = args().opaque(dir).string(name).u32(type)
    sattr(writer, attr)
    if (rdev) writer.u32(rdev[0]).u32(rdev[1])
    return this.#make('MKNOD', writer)
  }

  async remove(dir: Handle, name: string): Promise<Answer> {
    return this.#unlink('REMOVE', dir, name)
  }

  async rmdir(dir: Handle, name: string): Promise<Answer> {
    return this.#unlink('RMDIR', dir, name)
  }

  async rename(fromDir: Handle, fromName: string, toDir: Handle, toName: string): Promise<Answer> {
    const writer = args().opaque(fromDir).string(fromName).opaque(toDir).string(toName)
    const { status, reader } = await this.raw('RENAME', writer.bytes())
    return done(reader, { status, wcc: wccData(reader), wcc2: wccData(reader) })
  }

  async link(handle: Handle, dir: Handle, name: string): Promise<Answer> {
    const { status, reader } = await this.raw('LINK', args().opaque(handle).opaque(dir).string(name).bytes())
    return done(reader, { status, attr: postOp(reader), wcc: wccData(reader) })
  }

  async readdir(dir: Handle, cookie: number | bigint = 0, count = 8192): Promise<DirectoryAnswer> {
    const writer = args().opaque(dir).u64(cookie).u64(0).u32(count)
    return this.#list('READDIR', writer, false)
  }

  async readdirplus(
    dir: Handle,
    cookie: number | bigint = 0,
    maxcount = 32768,
    dircount = maxcount,
  ): Promise<DirectoryAnswer> {
    const writer = args().opaque(dir).u64(cookie).u64(0).u32(dircount).u32(maxcount)
    return this.#list('READDIRPLUS', writer, true)
  }

  /** All entries of a directory, page by page, with "." and "..". */
  async list(dir: Handle, how: 'readdir' | 'readdirplus' = 'readdirplus', count?: number): Promise<Entry[]> {
    const entries: Entry[] = []
    for (;;) {
      const page = await this[how](dir, entries.at(-1)?.cookie ?? 0, count)
      if (page.status !== 0) throw new Error(`${how}: ${page.status}`)
      entries.push(...page.entries)
      if (page.eof) return entries
    }
  }

  async fsstat(handle: Handle): Promise<NumbersAnswer> {
    return this.#numbers('FSSTAT', handle, (reader) => ({
      tbytes: Number(reader.u64()),
      fbytes: Number(reader.u64()),
      abytes: Number(reader.u64()),
      tfiles: Number(reader.u64()),
      ffiles: Number(reader.u64()),
      afiles: Number(reader.u64()),
      invarsec: reader.u32(),
    }))
  }

  async fsinfo(handle: Handle): Promise<NumbersAnswer> {
    return this.#numbers('FSINFO', handle, (reader) => ({
      rtmax: reader.u32(),
      rtpref: reader.u32(),
      rtmult: reader.u32(),
      wtmax: reader.u32(),
      wtpref: reader.u32(),
      wtmult: reader.u32(),
      dtpref: reader.u32(),
      maxfilesize: Number(reader.u64()),
      deltaSec: reader.u32(),
      deltaNsec: reader.u32(),
      properties: reader.u32(),
    }))
  }

  async pathconf(handle: Handle): Promise<NumbersAnswer> {
    return this.#numbers('PATHCONF', handle, (reader) => ({
      linkmax: reader.u32(),
      nameMax: reader.u32(),
      noTrunc: reader.u32(),
      chownRestricted: reader.u32(),
      caseInsensitive: reader.u32(),
      casePreserving: reader.u32(),
    }))
  }

  async commit(handle: Handle, offset = 0, count = 0): Promise<Answer & { verifier: string }> {
    const { status, reader } = await this.raw('COMMIT', args().opaque(handle).u64(offset).u32(count).bytes())
    const wcc = wccData(reader)
    return done(reader, { status, wcc, verifier: status === 0 ? hex(reader) : '' })
  }

  async #make(procedure: Procedure, writer: XdrWriter): Promise<Answer> {
    const { status, reader } = await this.raw(procedure, writer.bytes())
    if (status !== 0) return done(reader, { status, wcc: wccData(reader) })
    const handle = reader.optional(() => Buffer.from(reader.opaque()))
    return done(reader, { status, handle, attr: postOp(reader), wcc: wccData(reader) })
  }

  async #unlink(procedure: Procedure, dir: Handle, name: string): Promise<Answer> {
    const { status, reader } = await this.raw(procedure, args().opaque(dir).string(name).bytes())
    return done(reader, { status, wcc: wccData(reader) })
  }

  async #list(procedure: Procedure, writer: XdrWriter, plus: boolean): Promise<DirectoryAnswer> {
    const { status, reader } = await this.raw(procedure, writer.bytes())
    const size = reader.bytes.length - reader.pos
    const dirAttr = postOp(reader)
    if (status !== 0) return done(reader, { status, dirAttr, entries: [], eof: false, size })
    reader.fixed(8)
    const entries = reader.list(() => ({
      fileid: reader.u64(),
      name: reader.string(),
      cookie: reader.u64(),
      attr: plus ? postOp(reader) : undefined,
      handle: plus ? reader.optional(() => Buffer.from(reader.opaque())) : undefined,
    }))
    return done(reader, { status, dirAttr, entries, eof: reader.bool(), size })
  }

  async #numbers(
    procedure: Procedure,
    handle: Handle,
    read: (reader: XdrReader) => Record<string, number>,
  ): Promise<NumbersAnswer> {
    const { status, reader } = await this.raw(procedure, args().opaque(handle).bytes())
    const attr = postOp(reader)
    return done(reader, { status, attr, numbers: status === 0 ? read(reader) : {} })
  }
}

function args(): XdrWriter {
  return new XdrWriter()
}

/** Hands the answer on when all of it was read. */
function done<T>(reader: XdrReader, answer: T): T {
  reader.end()
  return answer
}

function hex(reader: XdrReader): string {
  return reader.fixed(8).toString('hex')
}
