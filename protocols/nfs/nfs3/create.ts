import {
  type Attr,
  type AttrChange,
  after,
  FileType,
  type Inode,
  isErrno,
  type MaybePromise,
} from '../../../overlay-core/index.ts'
import { madeEarlier } from '../exports/earlier-run.ts'
import { attrChange, decodeSattr3, encodeNewObject, encodeWccData } from './attributes.ts'
import { POST_OP_ATTR_BYTES, WCC_DATA_BYTES } from './constants.ts'
import { refuseDots } from './dots.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_EXIST, NFS3ERR_JUKEBOX, Nfs3Error } from './status.ts'

/** `createmode3`. */
const UNCHECKED = 0
const EXCLUSIVE = 2

/** Masked out of a verifier's halves, because not every file system can store times with this bit (as in the Linux server). */
const SECONDS_MASK = 0x7fff_ffff
const DEFAULT_MODE = 0o600
/** The number of attempts when a name keeps appearing and disappearing, before the client is told to retry later. */
const MAX_RACES = 4

/** NFSPROC3_CREATE: creates a regular file, or with UNCHECKED uses an existing one. RFC 1813 section 3.3.8. */
export const create: Nfs3Procedure = {
  name: 'CREATE',
  failure: 'wcc_data',
  mutates: true,
  run(call) {
    const { args } = call
    call.handle.read(args)
    const name = call.readName()
    const how = args.enumUpTo(EXCLUSIVE)
    const change = how === EXCLUSIVE ? verifierTimes(args.u32(), args.u32()) : attrChange(decodeSattr3(args))

    return after(call.resolve(call.handle), (dir) => {
      refuseDots(name, NFS3ERR_EXIST)
      call.wcc = {}
      return after(createOrFind(call, dir, name, how, change), (inode) =>
        after(call.overlay.getattr(inode), (attr) => answer(call, inode, attr)),
      )
    })
  },
}

function answer(call: Nfs3Call, inode: Inode, attr: Attr): void {
  const out = call.ok(64 + POST_OP_ATTR_BYTES + WCC_DATA_BYTES)
  encodeNewObject(out, call, inode, attr)
  encodeWccData(out, call.wcc, call.served)
}

/** The verifier of an exclusive create is stored in the times of the new file, so that a retransmitted request is recognized. */
function verifierTimes(first: number, second: number): AttrChange {
  return { atime: { sec: first & SECONDS_MASK, nsec: 0 }, mtime: { sec: second & SECONDS_MASK, nsec: 0 } }
}

function createOrFind(
  call: Nfs3Call,
  dir: Inode,
  name: string,
  how: number,
  change: AttrChange,
  round = 0,
): MaybePromise<Inode> {
  if (round === MAX_RACES) throw new Nfs3Error(NFS3ERR_JUKEBOX)
  const taken = async (error: unknown): Promise<Inode> => {
    if (!isErrno(error, 'EEXIST')) throw error
    const existing = await findExisting(call, dir, name, how, change)
    return existing ?? (await createOrFind(call, dir, name, how, change, round + 1))
  }
  try {
    const made = call.overlay.create(call.cred, dir, name, { mode: DEFAULT_MODE, ...change }, call.wcc)
    return made instanceof Promise ? made.catch(taken) : made
  } catch (error) {
    return taken(error)
  }
}

/** The object at the existing name, if the call may use it; undefined if it no longer exists. */
async function findExisting(
  call: Nfs3Call,
  dir: Inode,
  name: string,
  how: number,
  change: AttrChange,
): Promise<Inode | undefined> {
  const existing = await call.overlay.lookup(call.cred, dir, name)
  if (existing === undefined) return undefined
  if (how === EXCLUSIVE) await checkVerifier(call, existing, change)
  else if (how === UNCHECKED) await takeExisting(call, existing, change)
  else return await madeByEarlierRun(call, dir, name, change)
  return existing
}

/** A GUARDED create found an existing file, which an earlier run of the call may have created. */
async function madeByEarlierRun(call: Nfs3Call, dir: Inode, name: string, change: AttrChange): Promise<Inode> {
  const { uid = call.cred.uid } = change
  const isSame = (attr: Attr) => attr.type === FileType.regular && attr.uid === uid
  const found = await madeEarlier(call, { dir, name }, isSame)
  if (found === undefined) throw new Nfs3Error(NFS3ERR_EXIST)
  return found
}

/** Only the size of an UNCHECKED create applies to an existing file, as with O_TRUNC. */
async function takeExisting(call: Nfs3Call, existing: Inode, change: AttrChange): Promise<void> {
  if (existing.type !== FileType.regular) throw new Nfs3Error(NFS3ERR_EXIST)
  if (change.size === undefined) return
  await call.overlay.setattr(call.cred, existing, { size: change.size })
  call.object3 = existing
}

async function checkVerifier(call: Nfs3Call, existing: Inode, { atime, mtime }: AttrChange): Promise<void> {
  const attr = await call.overlay.getattr(existing)
  const same = isSecond(attr.atime.sec, atime) && isSecond(attr.mtime.sec, mtime) && attr.size === 0
  if (existing.type !== FileType.regular || !same) throw new Nfs3Error(NFS3ERR_EXIST)
}

function isSecond(sec: number, time: AttrChange['atime']): boolean {
  return typeof time === 'object' && time.sec === sec
}
