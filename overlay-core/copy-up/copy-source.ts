import type { Real } from '../layer/layer.ts'
import { NEVER_WAITS } from '../layer/real-open.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { isMarker } from '../sidecar/protocol-data-store.ts'
import { ResultOf, tryCalls } from '../sys/call.ts'
import { sysError } from '../sys/error.ts'
import { O_NOATIME, O_RDONLY } from '../sys/flags.ts'
import { HandleOut, handleStep, type KernelHandle } from '../sys/handle.ts'
import { closeSync, openStep } from '../sys/open.ts'
import { type Stat, StatOut, statStep } from '../sys/stat.ts'
import { GOES_ON_AFTER_FAILURE } from '../sys/thread-layout.ts'
import { XattrOut, xattrNamesStep, xattrStep } from '../sys/xattr.ts'

/** More or larger attributes than these are copied individually. */
const MOST_ATTRIBUTES = 6

/** Errors of an open that the slow path retries and reports: EPERM, ENOENT, ENXIO, ELOOP. */
const TRY_OTHERWISE: ReadonlySet<number> = new Set([1, 2, 6, 40])
const ENODATA = 61
const ERANGE = 34

/** An open lower file to be copied, and the data to copy with it. */
export interface CopySource {
  readonly fd: number
  readonly stat: Stat
  readonly handle: KernelHandle | undefined
  readonly attributes: readonly { readonly name: string; readonly value: Uint8Array }[]
}

/**
 * Opens a lower file and reads what a copy of it needs, in one trip if it has no extended attributes to copy, otherwise in two.
 * Undefined if the file needs the slow path. The caller closes `fd`.
 *
 * @throws EIO | EMFILE …
 */
export async function openSource(
  sb: SuperBlock,
  dirFd: number,
  { name, layer }: Real,
): Promise<CopySource | undefined> {
  const file = new ResultOf(0)
  const [stat, handle, names] = [new StatOut(), new HandleOut(), new XattrOut()]
  const [fd, statted, listed, handled] = (await tryCalls([
    openStep(dirFd, name, O_RDONLY | O_NOATIME | NEVER_WAITS),
    statStep(file, stat),
    { ...xattrNamesStep(file, names), flags: GOES_ON_AFTER_FAILURE },
    handleStep(file, '', handle),
  ])) as [number, number, number, number]
  if (TRY_OTHERWISE.has(-fd)) return undefined
  if (fd < 0) throw sysError('openat', -fd, name)
  let source: CopySource | undefined
  try {
    if (statted < 0) throw sysError('statx', -statted, name)
    const list = names.names(listed)
    if (!list && listed !== -ERANGE) throw sysError('listxattr', -listed, name)
    const attributes = list && (await readAttributes(sb, fd, list, layer.frozen))
    if (attributes) source = { fd, stat: stat.stat, handle: handle.handle(handled), attributes }
    return source
  } finally {
    if (!source) closeSync(fd)
  }
}

/** The attributes to copy; undefined if they are many or large. `withData`: those that refer to large protocol data are copied too. */
async function readAttributes(
  sb: SuperBlock,
  fd: number,
  names: readonly string[],
  withData: boolean,
): Promise<CopySource['attributes'] | undefined> {
  const wanted = names.filter((name) => sb.overlayXattrs.copiesUp(name))
  if (wanted.length === 0) return []
  if (wanted.length > MOST_ATTRIBUTES) return undefined
  const outs = wanted.map(() => new XattrOut())
  const steps = wanted.map((name, i) => xattrStep(fd, name, outs[i] as XattrOut))
  const results = await tryCalls(steps.map((one) => ({ ...one, flags: GOES_ON_AFTER_FAILURE })))
  const found: { name: string; value: Uint8Array }[] = []
  for (const [i, name] of wanted.entries()) {
    const result = results[i] as number
    // The attribute was removed meanwhile.
    if (result === -ENODATA) continue
    if (result === -ERANGE) return undefined
    const value = (outs[i] as XattrOut).value(result)
    if (!value) throw sysError('getxattr', -result)
    // Large protocol data is in the workdir of the overlay whose upper this lower was.
    if (withData || sb.overlayXattrs.slotOf(name) === undefined || !isMarker(value)) found.push({ name, value })
  }
  return found
}
