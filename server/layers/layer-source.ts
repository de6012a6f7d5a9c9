import { loopBudget, OptionError, readTree, type TreeItem, type TreeWriter } from '../../overlay-core/index.ts'
import { ByteSource } from './byte-source.ts'
import { imageParts, isArchiveOfImage, isImageLayout } from './oci-read.ts'
import { decompressed, kindOf, SourceFile } from './source-file.ts'
import { readTar } from './tar-read.ts'
import { unpack } from './unpack.ts'

/** Writes a layer. `told` is called after each object. */
export type LayerPart = (writer: TreeWriter, told: () => void) => Promise<void>

/** The content of a new version. */
export interface LayerContent {
  /** The layers of which it is made, lowest first: each lies on those before it. */
  readonly parts: readonly LayerPart[]
  /** Whether the content never has anything below it, so that whiteouts count only among its parts. */
  readonly isWhole: boolean
}

/** Where the content of a new version comes from. */
export interface LayerSource extends LayerContent {
  /** For people. */
  readonly from: string
  /** Ends reading. */
  close(): Promise<void>
}

/** How a source is read. */
export interface SourceOptions {
  /** Whether files `.wh.NAME` in a directory are whiteouts. */
  readonly whiteoutFiles?: boolean
}

const KINDS = ['dir', 'tar', 'oci', 'oci-archive'] as const
type Kind = (typeof KINDS)[number]

/**
 * Opens a source: `PATH`, or `KIND:PATH` with the kind `dir`, `tar`, `oci` or `oci-archive`; images may have `:TAG` after the path. Without a kind it is found out.
 *
 * @throws OptionError naming `from`
 */
export async function openSource(text: string, options: SourceOptions = {}): Promise<LayerSource> {
  const { kind, path, tag } = await understand(text)
  const from = `${kind}:${path}${tag === undefined ? '' : `:${tag}`}`
  if (kind === 'dir')
    return { from, parts: [partOf(readTree(path, options))], isWhole: false, close: async () => undefined }
  if (kind === 'oci' || kind === 'oci-archive') {
    const image = await imageParts(kind, path, tag)
    // One layer may be meant for any place in a stack; several make a root directory.
    return { from, ...image, isWhole: image.parts.length > 1 }
  }
  const file = await SourceFile.open(path)
  return { from, parts: [tarPart(file)], isWhole: false, close: () => file.close() }
}

/** The layer that the items make. */
export function partOf(items: AsyncIterable<TreeItem>): LayerPart {
  return async (writer, told) => {
    for await (const item of items) {
      await writer.add(item)
      told()
      if (loopBudget.spent) await loopBudget.rest()
    }
  }
}

function tarPart(file: SourceFile): LayerPart {
  return async (writer, told) => {
    const source = new ByteSource(await decompressed(file.whole()))
    await unpack(readTar(source), writer, told)
    await source.end()
  }
}

async function understand(text: string): Promise<{ kind: Kind; path: string; tag: string | undefined }> {
  const [, named, rest] = /^(dir|tar|oci|oci-archive):(.*)$/s.exec(text) ?? []
  if (named !== undefined) {
    const kind = named as Kind
    if (kind === 'dir' || kind === 'tar') return { kind, path: absolute(rest as string), tag: undefined }
    return { kind, ...splitTag(absolute(rest as string)) }
  }
  const path = absolute(text)
  if ((await kindOf(path)) === 'directory')
    return { kind: (await isImageLayout(path)) ? 'oci' : 'dir', path, tag: undefined }
  return { kind: (await isArchiveOfImage(path)) ? 'oci-archive' : 'tar', path, tag: undefined }
}

/** The part after the last colon is a tag, if it has no slash. */
function splitTag(path: string): { path: string; tag: string | undefined } {
  const at = path.lastIndexOf(':')
  if (at < 0 || path.includes('/', at)) return { path, tag: undefined }
  return { path: path.slice(0, at), tag: path.slice(at + 1) }
}

function absolute(path: string): string {
  if (path.startsWith('/')) return path
  throw new OptionError('from', `${JSON.stringify(path)} is not an absolute path; start it with a slash`)
}
