import {
  Access,
  type Attr,
  type AttrChange,
  type ChangeInfo,
  type Cred,
  FileType,
  type Inode,
  isErrno,
} from '../../../overlay-core/index.ts'
import { madeEarlier } from '../exports/earlier-run.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import { type CreateHow, GUARDED, UNCHECKED } from './open-arguments.ts'
import { runIn } from './reruns.ts'
import { SHARE_READ, SHARE_WRITE } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** Whoever may open a file keeps it open, whatever happens to its mode. */
export const SERVER_CRED: Cred = { uid: 0, gid: 0, groups: [] }

const DEFAULT_MODE = 0o600
/** The number of attempts when a name keeps appearing and disappearing, before the client is told to retry later. */
const MAX_RACES = 4

/** A file to open. */
export interface Found {
  readonly inode: Inode
  /** Whether this call has created it. */
  readonly created: boolean
  readonly info: ChangeInfo
}

/** The file with a name in `dir`, which is created if it is missing and `how` says so. @throws Nfs4Error · OverlayError */
export async function findOrCreate(
  call: Nfs4Call,
  dir: Target,
  name: string,
  how: CreateHow | undefined,
): Promise<Found> {
  const { served, inode, grant } = dir
  const { overlay } = served
  for (let round = 0; round < MAX_RACES; round++) {
    if (how !== undefined && !grant.readOnly) {
      const info: ChangeInfo = {}
      const run = how.mode === GUARDED ? runIn(call, dir, info) : undefined
      try {
        const options = { mode: DEFAULT_MODE, ...how.settable.change, ...how.times }
        return { inode: await overlay.create(grant.cred, inode, name, options, info), created: true, info }
      } catch (error) {
        if (!isErrno(error, 'EEXIST')) throw error
        const { uid = grant.cred.uid } = how.settable.change
        const wants = (attr: Attr) => attr.type === FileType.regular && attr.uid === uid
        const found = run && (await madeEarlier(run, { dir: inode, name }, wants))
        if (found !== undefined) return { inode: found, created: true, info }
      }
    }
    const found = await overlay.lookup(grant.cred, inode, name)
    if (found !== undefined) return await existing(dir, found, how)
    if (how === undefined) throw new Nfs4Error(STATUS.NOENT)
    if (grant.readOnly) throw new Nfs4Error(STATUS.ROFS)
  }
  throw new Nfs4Error(STATUS.DELAY)
}

async function existing({ served, inode: dir }: Target, inode: Inode, how: CreateHow | undefined): Promise<Found> {
  const { overlay } = served
  const attr = await overlay.getattr(dir)
  const info = { before: attr, after: attr }
  if (how === undefined || how.mode === UNCHECKED) return { inode, created: false, info }
  if (how.mode === GUARDED) throw new Nfs4Error(STATUS.EXIST)
  const now = await overlay.getattr(inode)
  const isSame = isSecond(now.atime.sec, how.times?.atime) && isSecond(now.mtime.sec, how.times?.mtime)
  if (inode.type !== FileType.regular || !isSame || now.size > 0) throw new Nfs4Error(STATUS.EXIST)
  // The client sends its request again: it has created the file.
  return { inode, created: true, info }
}

function isSecond(sec: number, time: AttrChange['atime']): boolean {
  return typeof time === 'object' && time.sec === sec
}

/** @throws Nfs4Error it is not a regular file */
export function mustBeRegular(call: Nfs4Call, inode: Inode): void {
  if (inode.type === FileType.regular) return
  if (inode.type === FileType.directory) throw new Nfs4Error(STATUS.ISDIR)
  throw new Nfs4Error(inode.type === FileType.symlink || call.minor === 0 ? STATUS.SYMLINK : STATUS.WRONG_TYPE)
}

/** Checks that the caller may open a file. Who may execute it may read it, as in nfsd. @throws Nfs4Error ACCESS · ROFS */
export async function mustAllow({ served, inode, grant }: Target, access: number): Promise<void> {
  if (access & SHARE_WRITE && (grant.readOnly || served.overlay.readOnly)) throw new Nfs4Error(STATUS.ROFS)
  const asked = Access.read | Access.write | Access.execute
  const has = await served.overlay.access(grant.cred, inode, asked)
  if (access & SHARE_READ && !(has & (Access.read | Access.execute))) throw new Nfs4Error(STATUS.ACCESS)
  if (access & SHARE_WRITE && !(has & Access.write)) throw new Nfs4Error(STATUS.ACCESS)
}
