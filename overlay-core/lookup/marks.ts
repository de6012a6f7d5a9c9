import { isErrno, OverlayError } from '../api/errno.ts'
import { FileType } from '../api/types.ts'
import { type Found, keepsIdentities, type Real } from '../layer/layer.ts'
import { isPlain } from '../layer/object-rights.ts'
import { saysAttributeWhiteouts } from '../layer/whiteout.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { LowerReal } from '../stack/lower-real.ts'
import type { Stat } from '../sys/stat.ts'

/** The overlay marks of a directory in a layer. */
export interface Marks {
  /** Whether it hides everything in the lowers (`overlay.opaque` = y). */
  readonly opaque: boolean
  /** Where to look up the lower directory: a name, or an absolute path from the overlay root, as latin1. */
  readonly redirect: string | undefined
  /** Encoded identity of the lower it was copied up from. */
  readonly origin: Uint8Array | undefined
  /** Whether it is a regular file whose data is in a lower (`overlay.metacopy`). */
  readonly metacopy: boolean
  /** The encoded identity of a hard link that copy-up has separated from the others, or of an object that was put on other layers or is in a squashed layer. */
  readonly identity: Uint8Array | undefined
}

/** An object without marks. */
export const NO_MARKS: Marks = {
  opaque: false,
  redirect: undefined,
  origin: undefined,
  metacopy: false,
  identity: undefined,
}

const OPAQUE: Marks = { ...NO_MARKS, opaque: true }

/**
 * Reads the marks of directory `real` and records in it whether it is opaque, impure or contains attribute whiteouts.
 *
 * @throws EPERM it has a redirect, and the options forbid following it (redirect_dir=nofollow) · EINVAL a malformed redirect · EACCES one with `.` or `..`
 */
export async function readMarks(sb: SuperBlock, real: Real): Promise<Marks> {
  if (!(real instanceof LowerReal)) return await readMarksOf(sb, real)
  const { content } = real
  if (content.marksKnown) return real.opaque || real.redirect !== undefined ? marksIn(real, undefined) : NO_MARKS
  const { version } = content
  const isCurrent = () => content.version === version
  const marks = await readMarksOf(sb, real, isCurrent)
  if (isCurrent()) content.marksKnown = true
  return marks
}

/** @param isCurrent whether the marks shall still be recorded in `real` after they were read */
async function readMarksOf(sb: SuperBlock, real: Real, isCurrent = () => true): Promise<Marks> {
  const fd = await sb.descriptors.of(real)
  const names = await sb.xattrStore.list(fd, '')
  const { overlayXattrs } = sb
  const read = (attr: string) => (names.includes(attr) ? sb.xattrStore.get(fd, '', attr) : undefined)
  const asFile = await real.layer.marks.isOpaque(sb, real)
  const marked = names.some((name) => name.startsWith(overlayXattrs.prefix))
  const opaque = marked ? await read(overlayXattrs.opaque) : undefined
  const redirect = marked ? await read(overlayXattrs.redirect) : undefined
  const keeps = keepsIdentities(real.layer)
  const origin = marked && keeps ? await read(overlayXattrs.origin) : undefined
  const identity = marked && keeps ? await read(overlayXattrs.identity) : undefined
  const marks = {
    ...NO_MARKS,
    opaque: asFile || (opaque?.length === 1 && opaque[0] === 0x79),
    redirect: redirect && checkRedirect(sb, Buffer.from(redirect).toString('latin1')),
    origin,
    identity,
  }
  if (!isCurrent()) return marks
  // All in one step, because another overlay of the stack may use the marks of a lower at any time.
  real.plain = isPlain(names)
  real.opaque = marks.opaque
  real.xwhiteouts = saysAttributeWhiteouts(opaque)
  real.redirect = marks.redirect
  if (marked) real.impure = keeps && names.includes(overlayXattrs.impure)
  return marked ? marks : marks.opaque ? OPAQUE : NO_MARKS
}

/** The marks of a directory as they were read into `real`. */
function marksIn({ opaque, redirect }: Real, origin: Uint8Array | undefined): Marks {
  return { opaque, redirect, origin, metacopy: false, identity: undefined }
}

/**
 * Reads the marks of a non-directory. In a lower that was never an upper, a file with blocks for all of its size is not checked
 * for metacopy unless the options allow for it: it contains its data.
 *
 * @throws EPERM a metadata-only file with metacopy=off, whose data must not be followed, as in the kernel
 */
export async function readFileMarks(sb: SuperBlock, dirFd: number, { real, stat }: Found): Promise<Marks> {
  const { overlayXattrs, options } = sb
  const keeps = keepsIdentities(real.layer)
  if (!keeps && !maybeMetadataOnly(sb, real, stat)) return NO_MARKS
  const names = await sb.xattrStore.list(dirFd, real.name)
  real.plain = isPlain(names)
  const metacopy = stat.type === FileType.regular && names.includes(overlayXattrs.metacopy)
  if (metacopy && !options.metacopy) throw new OverlayError('EPERM', 'lookup', real.name)
  const read = (attr: string) => (names.includes(attr) ? sb.xattrStore.get(dirFd, real.name, attr) : undefined)
  const redirect = metacopy ? await read(overlayXattrs.redirect) : undefined
  const origin = keeps ? await read(overlayXattrs.origin) : undefined
  return {
    opaque: false,
    redirect: redirect && checkRedirect(sb, Buffer.from(redirect).toString('latin1')),
    origin,
    metacopy,
    identity: keeps ? await read(overlayXattrs.identity) : undefined,
  }
}

/** Whether a file could be a metadata-only copy, according to the options and its number of blocks. */
export function maybeMetadataOnly(sb: SuperBlock, real: Real, stat: Stat): boolean {
  if (stat.type !== FileType.regular) return false
  if (sb.options.metacopy || sb.dataLayers.length > 0) return true
  // One block may contain the attributes.
  const ownBlocks = real.layer.wasUpper || keepsIdentities(real.layer) ? stat.blocks - 8 : stat.blocks
  return stat.size > 0 && ownBlocks * 512 < stat.size
}

/** Checks that a redirect is one component or an absolute path (ovl_get_redirect_xattr). */
function checkRedirect(sb: SuperBlock, redirect: string): string {
  if (sb.options.redirectDir === 'nofollow') throw new OverlayError('EPERM', 'lookup')
  const parts = redirect.startsWith('/') ? redirect.slice(1).split('/') : [redirect]
  for (const part of parts) {
    if (part === '' || part.includes('/') || part.includes('\0')) throw new OverlayError('EINVAL', 'lookup')
    // The kernel accepts the redirect as well-formed, but then refuses to look up such a name.
    if (part === '.' || part === '..') throw new OverlayError('EACCES', 'lookup')
  }
  return redirect
}

/** Marks the upper directory `real` as holding objects with an origin. */
export async function setImpure(sb: SuperBlock, real: Real): Promise<void> {
  if (real.impure) return
  try {
    await sb.xattrStore.set(await sb.descriptors.of(real), '', sb.overlayXattrs.impure, Buffer.from('y'))
  } catch (error) {
    // As in the kernel: without the mark, at worst the file ids of a listing differ after a restart.
    if (!isErrno(error, 'EOPNOTSUPP', 'EPERM')) throw error
  }
  real.impure = true
}
