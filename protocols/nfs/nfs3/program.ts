import type { RpcProgram } from '../rpc/program.ts'
import { access } from './access.ts'
import { commit } from './commit.ts'
import { NFS_PROGRAM, NFS_V3 } from './constants.ts'
import { create } from './create.ts'
import { executor } from './executor.ts'
import { fsinfo } from './fsinfo.ts'
import { fsstat } from './fsstat.ts'
import { getattr } from './getattr.ts'
import { link } from './link.ts'
import { lookup } from './lookup.ts'
import { mkdir } from './mkdir.ts'
import { mknod } from './mknod.ts'
import type { Nfs3Context } from './nfs3-context.ts'
import { nullProcedure } from './null.ts'
import { pathconf } from './pathconf.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { read } from './read.ts'
import { readdir } from './readdir.ts'
import { readdirplus } from './readdirplus.ts'
import { readlink } from './readlink.ts'
import { remove } from './remove.ts'
import { rename } from './rename.ts'
import { rmdir } from './rmdir.ts'
import { setattr } from './setattr.ts'
import { symlink } from './symlink.ts'
import { write } from './write.ts'

/** The procedures of NFSv3 by number (RFC 1813 section 3). */
export const NFS3_PROCEDURES: readonly Nfs3Procedure[] = [
  nullProcedure,
  getattr,
  setattr,
  lookup,
  access,
  readlink,
  read,
  write,
  create,
  mkdir,
  symlink,
  mknod,
  remove,
  rmdir,
  rename,
  link,
  readdir,
  readdirplus,
  fsstat,
  fsinfo,
  pathconf,
  commit,
]

/** The NFS program, version 3. */
export function nfs3Program(context: Nfs3Context): RpcProgram {
  return {
    number: NFS_PROGRAM,
    version: NFS_V3,
    procedures: NFS3_PROCEDURES.map((procedure) => executor(context, procedure)),
  }
}
