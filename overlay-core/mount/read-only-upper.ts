import { isUnwritable, type OverlayError } from '../api/errno.ts'
import type { MountOptions } from '../api/params.ts'
import { type Layer, Real } from '../layer/layer.ts'
import type { Storage } from '../layer/storage.ts'
import { openWorkDirectory } from '../layer/workdir.ts'
import { diskXattrs } from '../layer/xattr-store.ts'
import { ProtocolDataStore } from '../sidecar/protocol-data-store.ts'
import { hasSidecar } from '../sidecar/sidecar-log.ts'
import { firstPassingNumber } from '../sidecar/sidecar-tree.ts'
import { XattrSidecar } from '../sidecar/xattr-sidecar.ts'
import { statxFd } from '../sys/stat.ts'
import { deviceFormat } from '../whiteouts/device-format.ts'
import { fileFormat } from '../whiteouts/file-format.ts'
import { recordsFiles } from '../whiteouts/format-record.ts'
import { KERNEL_FORM, type OpenWorkdir, type PreparedUpper, prepareUpper, type UpperContext } from './prepare-upper.ts'

/**
 * Like `prepareUpper`, but if the upper cannot be written now because its file system is full or read-only, the overlay is served read-only, and
 * a notice says so.
 *
 * @throws OptionError like `prepareUpper`
 */
export async function prepareUpperOrServe(
  options: MountOptions,
  layer: Layer,
  workdir: OpenWorkdir,
  context: UpperContext,
): Promise<PreparedUpper> {
  try {
    return await prepareUpper(options, layer, workdir, context)
  } catch (error) {
    if (!isUnwritable(error)) throw error
    return await serveReadOnly(options, layer, workdir.fd, context, codeOf(error))
  }
}

async function serveReadOnly(
  options: MountOptions,
  layer: Layer,
  workdirFd: number,
  context: UpperContext,
  code: string,
): Promise<PreparedUpper> {
  const { descriptors, opened } = context
  const workdir = new Real(layer, undefined, '', statxFd(workdirFd).ino)
  workdir.fd = workdirFd
  layer.marks = (await recordsFiles(layer.root.fd, workdirFd)) ? fileFormat : deviceFormat
  const sidecar = await existingSidecar(layer, workdir, context)
  opened.defer(() => sidecar?.close())
  const indexDir = options.index && !layer.inodeNumbers ? await existingIndex(context, layer, workdir) : undefined
  const protocolData = ProtocolDataStore.in(descriptors, layer, workdir, {
    newId: context.newProtocolDataId,
    volatile: options.volatile,
  })
  const notices = [
    code === 'EROFS'
      ? 'the file system of the upper is read-only, so the overlay is read-only too; mount it read-write and restart'
      : 'the file system of the upper is full and the upper cannot be prepared, so the overlay is read-only; free some space and restart',
  ]
  const storage = sidecar?.keepsOwners ? OWNERS_ASIDE : undefined
  return {
    ...{ work: undefined, intents: undefined },
    ...{ storage, indexDir, notices, protocolData, xattrStore: sidecar ?? diskXattrs },
  }
}

/** Nothing is written to this storage, so only `owners` matters. */
const OWNERS_ASIDE: Storage = { ...KERNEL_FORM, owners: false }

/** Opens the sidecar if there is one, and uses its inode numbers for the layer. */
async function existingSidecar(
  layer: Layer,
  workdir: Real,
  { descriptors, overlayXattrs, newProtocolDataId }: UpperContext,
): Promise<XattrSidecar | undefined> {
  if (!(await hasSidecar(workdir.fd))) return undefined
  const place = { upper: layer.root, workdir, descriptors, prefix: overlayXattrs.prefix }
  const { sidecar, givesNumbers } = await XattrSidecar.openReadOnly(place, firstPassingNumber(newProtocolDataId(2)))
  if (givesNumbers) layer.inodeNumbers = sidecar
  return sidecar
}

/** Opens the index, which records the copies of hard links; undefined if it was never created. */
async function existingIndex({ descriptors }: UpperContext, layer: Layer, workdir: Real): Promise<Real | undefined> {
  try {
    return await openWorkDirectory(descriptors, layer, workdir, 'index')
  } catch (error) {
    if (!isUnwritable(error)) throw error
    return undefined
  }
}

function codeOf(error: unknown): string {
  return (error as OverlayError).code
}
