import type { Errno } from '../../overlay-core/api/errno.ts'
import { type AttrChange, type Cred, OverlayError } from '../../overlay-core/index.ts'
import { listedStatus, type ProcedureName } from '../../protocols/nfs/nfs3/procedure-statuses.ts'
import type { Answer, DirectoryAnswer, Handle, NfsClient } from '../helpers/nfs-client.ts'
import { type DoorSide, type DoorStatus, READ_BYTES } from './door-side.ts'

const UNSTABLE = 0
const FIFO = 7
/** By `ftype3`. */
export const TYPES = ['', 'file', 'directory', 'block', 'character', 'symlink', 'socket', 'fifo']

const ERRORS: Readonly<Record<number, Errno>> = {
  1: 'EPERM',
  2: 'ENOENT',
  5: 'EIO',
  6: 'ENXIO',
  13: 'EACCES',
  17: 'EEXIST',
  18: 'EXDEV',
  20: 'ENOTDIR',
  21: 'EISDIR',
  22: 'EINVAL',
  27: 'EFBIG',
  28: 'ENOSPC',
  30: 'EROFS',
  31: 'EMLINK',
  63: 'ENAMETOOLONG',
  66: 'ENOTEMPTY',
  70: 'ESTALE',
}

const PROCEDURE_OF = {
  find: 'LOOKUP',
  create: 'CREATE',
  mkdir: 'MKDIR',
  mkfifo: 'MKNOD',
  symlink: 'SYMLINK',
  getattr: 'GETATTR',
  setattr: 'SETATTR',
  readlink: 'READLINK',
  list: 'READDIRPLUS',
  read: 'READ',
  write: 'WRITE',
  link: 'LINK',
  remove: 'REMOVE',
  rmdir: 'RMDIR',
  rename: 'RENAME',
} as const satisfies Record<string, ProcedureName>

/** What NFSv3 says where the kernel fails with `code`: each procedure may only answer what RFC 1813 lists for it. */
export function toldAs(op: keyof typeof PROCEDURE_OF, code: string): string {
  const [status] = Object.entries(ERRORS).find(([, name]) => name === code) ?? []
  if (status === undefined) return code
  return ERRORS[listedStatus(PROCEDURE_OF[op], Number(status))] ?? code
}

/** overlayd by way of NFSv3: raw calls, each with the credential of its caller. */
export class NfsDoor implements DoorSide<Handle> {
  readonly #client: NfsClient

  constructor(client: NfsClient) {
    this.#client = client
  }

  async find(cred: Cred, dir: Handle, name: string): Promise<Handle> {
    return handleOf(await this.#as(cred).lookup(dir, name))
  }

  async make(
    cred: Cred,
    kind: 'create' | 'mkdir' | 'mkfifo',
    dir: Handle,
    name: string,
    mode: number,
  ): Promise<Handle> {
    const client = this.#as(cred)
    if (kind === 'create') return handleOf(await client.create(dir, name, { mode: 'guarded', attr: { mode } }))
    if (kind === 'mkdir') return handleOf(await client.mkdir(dir, name, { mode }))
    return handleOf(await client.mknod(dir, name, FIFO, { mode }))
  }

  async symlink(cred: Cred, dir: Handle, name: string, target: string): Promise<Handle> {
    return handleOf(await this.#as(cred).symlink(dir, name, target))
  }

  async getattr(handle: Handle): Promise<DoorStatus> {
    const { attr } = checked(await this.#client.getattr(handle))
    if (!attr) throw new Error('GETATTR without attributes')
    const { type, mode, nlink, uid, gid, size } = attr
    return { type: TYPES[type] ?? `${type}`, mode, nlink, uid, gid, size }
  }

  async setattr(cred: Cred, handle: Handle, change: AttrChange): Promise<void> {
    checked(await this.#as(cred).setattr(handle, change))
  }

  async readlink(cred: Cred, handle: Handle): Promise<string> {
    return checked(await this.#as(cred).readlink(handle)).target
  }

  async list(cred: Cred, handle: Handle): Promise<readonly string[]> {
    const names: string[] = []
    for (let cookie: bigint | number = 0; ; ) {
      const page: DirectoryAnswer = checked(await this.#as(cred).readdirplus(handle, cookie))
      names.push(...page.entries.map(({ name }) => name))
      if (page.eof) return names.filter((name) => name !== '.' && name !== '..')
      cookie = page.entries.at(-1)?.cookie ?? 0
    }
  }

  async read(cred: Cred, handle: Handle, at: number): Promise<Buffer> {
    return checked(await this.#as(cred).read(handle, at, READ_BYTES)).data
  }

  async write(cred: Cred, handle: Handle, at: number, data: Buffer): Promise<void> {
    checked(await this.#as(cred).write(handle, at, data, UNSTABLE))
  }

  async link(cred: Cred, handle: Handle, dir: Handle, name: string): Promise<void> {
    checked(await this.#as(cred).link(handle, dir, name))
  }

  async remove(cred: Cred, kind: 'remove' | 'rmdir', dir: Handle, name: string): Promise<void> {
    checked(await this.#as(cred)[kind](dir, name))
  }

  async rename(cred: Cred, dir: Handle, name: string, toDir: Handle, toName: string): Promise<void> {
    checked(await this.#as(cred).rename(dir, name, toDir, toName))
  }

  #as({ uid, gid, groups }: Cred): NfsClient {
    return this.#client.as(uid, gid, groups)
  }
}

function checked<A extends Answer>(answer: A): A {
  if (answer.status === 0) return answer
  const code = ERRORS[answer.status]
  if (code === undefined) throw new Error(`status ${answer.status}`)
  throw new OverlayError(code, 'nfs')
}

function handleOf(answer: Answer): Handle {
  const { handle } = checked(answer)
  if (!handle) throw new Error('no handle')
  return handle
}
