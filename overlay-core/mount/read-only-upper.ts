import { isErrno, type OverlayError } from '../api/errno.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import { type Layer, Real } from '../layer/layer.ts'
import { openWorkDirectory } from '../layer/workdir.ts'
import { diskXattrs } from '../layer/xattr-store.ts'
import { ProtocolDataStore } from '../sidecar/protocol-data-store.ts'
import { hasSidecar } from '../sidecar/sidecar-log.ts'
import { statxFd } from '../sys/stat.ts'
import { deviceFormat } from '../whiteouts/device-format.ts'
import { fileFormat } from '../whiteouts/file-format.ts'
import { recordsFiles } from '../whiteouts/format-record.ts'
import { type PreparedUpper, prepareUpper, type UpperContext } from './prepare-upper.ts'

/** What a file system answers that takes nothing for now. */
export const UNWRITABLE = ['ENOSPC', 'EDQUOT', 'EROFS'] as const

/**
 * As `prepareUpper`; an upper that cannot be written to now, as its file system is full or read-only, is served read-only, and a notice says so.
 *
 * @throws OptionError as `prepareUpper`, or not even that is possible
 */
export async function prepareUpperOrServe(
  options: MountOptions,
  layer: Layer,
  workdirFd: number,
  context: UpperContext,
): Promise<PreparedUpper> {
  try {
    return await prepareUpper(options, layer, workdirFd, context)
  } catch (error) {
    if (!isErrno(error, ...UNWRITABLE)) throw error
    if (await keepsAttributesAside(workdirFd)) {
      throw new OptionError(
        'workdir',
        `cannot write to '${options.workdir}' (${codeOf(error)}), which stores the attributes of files; free some space, or mount its file system read-write`,
      )
    }
    return await serveReadOnly(options, layer, workdirFd, context, codeOf(error))
  }
}

async function serveReadOnly(
  options: MountOptions,
  layer: Layer,
  workdirFd: number,
  context: UpperContext,
  code: string,
): Promise<PreparedUpper> {
  const { descriptors } = context
  const workdir = new Real(layer, undefined, '', statxFd(workdirFd).ino)
  workdir.fd = workdirFd
  layer.marks = (await recordsFiles(layer.root.fd, workdirFd)) ? fileFormat : deviceFormat
  const indexDir = options.index ? await existingIndex(context, layer, workdir) : undefined
  const protocolData = ProtocolDataStore.in(descriptors, layer, workdir, {
    newId: context.newProtocolDataId,
    volatile: options.volatile,
  })
  const notices = [
    code === 'EROFS'
      ? 'the file system of the upper is read-only, so the overlay is read-only too; mount it read-write and restart'
      : 'the file system of the upper is full and the upper cannot be prepared, so the overlay is read-only; free some space and restart',
  ]
  const nothing = { work: undefined, storage: undefined, intents: undefined }
  return { ...nothing, indexDir, notices, protocolData, xattrStore: diskXattrs }
}

/** The index, which tells where hard links were copied to; undefined when there never was one. */
async function existingIndex({ descriptors }: UpperContext, layer: Layer, workdir: Real): Promise<Real | undefined> {
  try {
    return await openWorkDirectory(descriptors, layer, workdir, 'index')
  } catch (error) {
    if (!isErrno(error, ...UNWRITABLE)) throw error
    return undefined
  }
}

async function keepsAttributesAside(workdirFd: number): Promise<boolean> {
  try {
    return await hasSidecar(workdirFd)
  } catch (error) {
    // It is there, and was to be opened for writing.
    if (isErrno(error, 'EROFS')) return true
    throw error
  }
}

function codeOf(error: unknown): string {
  return (error as OverlayError).code
}
