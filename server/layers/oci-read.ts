import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { OptionError } from '../../overlay-core/index.ts'
import { ByteSource } from './byte-source.ts'
import type { LayerPart } from './layer-source.ts'
import { decompressed, SourceFile } from './source-file.ts'
import { readTar } from './tar-read.ts'
import { unpack } from './unpack.ts'

/** The longest manifest, index or configuration. */
const MOST_JSON_BYTES = 4 * 1024 * 1024
const LAYER_TYPES =
  /^application\/vnd\.(oci\.image\.layer\.v1\.tar|docker\.image\.rootfs\.diff\.tar)([+.](gzip|zstd))?$/
const INDEX_TYPES = /^application\/vnd\.(oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json$/
/** The names of architectures in images. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm64: 'arm64', arm: 'arm' }

/** A descriptor of the OCI image specification. */
interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly os?: string; readonly architecture?: string }
  readonly annotations?: Readonly<Record<string, string>>
}

/** The files of an image, in a directory or an archive. */
interface ImageFiles {
  /** Undefined if there is no such file. */
  read(name: string): Promise<{ readonly size: number; readonly pieces: AsyncIterable<Uint8Array> } | undefined>
  close(): Promise<void>
}

/** Whether a directory is an OCI image layout. */
export async function isImageLayout(path: string): Promise<boolean> {
  const files = layoutFiles(path)
  try {
    return (await files.read('oci-layout')) !== undefined
  } finally {
    await files.close()
  }
}

/** Whether a file is an archive of an OCI image layout. */
export async function isArchiveOfImage(path: string): Promise<boolean> {
  const file = await SourceFile.open(path)
  try {
    const members = new ByteSource(await decompressed(file.whole()))
    let seen = 0
    for await (const { entry } of readTar(members)) {
      const name = entry.path.replace(/^\.\//, '')
      if (name === 'oci-layout' || name === 'index.json' || name.startsWith('blobs/')) return true
      // Layouts have no other members at their beginning.
      if (name !== '' && name !== 'manifest.json' && name !== 'repositories' && ++seen > 1) return false
    }
    return false
  } catch (error) {
    if (error instanceof OptionError) return false
    throw error
  } finally {
    await file.close()
  }
}

/** The layers of an image, lowest first. Everything that is read has the digest by which the image names it. @throws OptionError naming `from` */
export async function imageParts(
  kind: 'oci' | 'oci-archive',
  path: string,
  tag: string | undefined,
): Promise<{ readonly parts: readonly LayerPart[]; close(): Promise<void> }> {
  const files = kind === 'oci' ? layoutFiles(path) : await archiveFiles(path)
  try {
    const image = await new ImageReader(files, path).read(tag)
    const close = () => files.close()
    return { parts: image.map(({ descriptor, diffId }) => layerPart(files, descriptor, diffId)), close }
  } catch (error) {
    await files.close()
    throw error
  }
}

class ImageReader {
  readonly #files: ImageFiles
  readonly #path: string

  constructor(files: ImageFiles, path: string) {
    this.#files = files
    this.#path = path
  }

  async read(tag: string | undefined): Promise<{ descriptor: Descriptor; diffId: string }[]> {
    const index = await this.#files.read('index.json')
    if (index === undefined)
      throw this.#error('is no OCI image: it has no index.json; skopeo copy turns other images into one')
    let manifest = await this.#choose(await this.#parse(index.pieces), tag)
    for (let depth = 0; INDEX_TYPES.test(manifest.mediaType); depth++) {
      if (depth > 4) throw this.#error('has indexes in indexes; name an image with one')
      manifest = await this.#choose(await this.#json(manifest), undefined)
    }
    const { config, layers } = (await this.#json(manifest)) as { config?: Descriptor; layers?: Descriptor[] }
    if (!isDescriptor(config) || !Array.isArray(layers) || !layers.every(isDescriptor))
      throw this.#error('has a manifest without configuration and layers')
    for (const { mediaType } of layers)
      if (!LAYER_TYPES.test(mediaType)) throw this.#error(`has a layer of the type ${mediaType}, which is no tar file`)
    const { rootfs } = (await this.#json(config)) as { rootfs?: { diff_ids?: unknown } }
    const ids = rootfs?.diff_ids
    if (!Array.isArray(ids) || ids.length !== layers.length)
      throw this.#error('has a configuration that does not fit its layers')
    return layers.map((descriptor, i) => ({ descriptor, diffId: String(ids[i]) }))
  }

  async #choose(index: unknown, tag: string | undefined): Promise<Descriptor> {
    const { manifests } = index as { manifests?: unknown }
    const found = Array.isArray(manifests) ? manifests.filter(isDescriptor) : []
    const named = tag === undefined ? found : found.filter((each) => tagOf(each) === tag)
    if (named.length === 1) return named[0] as Descriptor
    const architecture = ARCHITECTURES[process.arch] ?? process.arch
    const fitting = named.filter(({ platform }) => platform?.os === 'linux' && platform.architecture === architecture)
    if (fitting.length === 1) return fitting[0] as Descriptor
    const tags = found.map(tagOf).filter((each) => each !== undefined)
    if (tag !== undefined && named.length === 0)
      throw this.#error(
        `has no image ${JSON.stringify(tag)}; ${tags.length === 0 ? 'leave the tag out' : `there is ${tags.join(', ')}`}`,
      )
    throw this.#error(
      found.length === 0
        ? 'contains no image'
        : `contains several images; add one of their tags: oci:PATH:${tags.join(', ')}`,
    )
  }

  async #json(descriptor: Descriptor): Promise<unknown> {
    return await this.#parse(await blob(this.#files, descriptor))
  }

  async #parse(pieces: AsyncIterable<Uint8Array>): Promise<unknown> {
    const parts: Uint8Array[] = []
    let size = 0
    for await (const piece of pieces) {
      size += piece.length
      if (size > MOST_JSON_BYTES) throw this.#error('has a manifest that is too large')
      parts.push(piece)
    }
    try {
      const value: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'))
      if (typeof value === 'object' && value !== null) return value
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
    }
    throw this.#error('has a manifest that is not JSON')
  }

  #error(what: string): OptionError {
    return new OptionError('from', `${this.#path} ${what}`)
  }
}

function layerPart(files: ImageFiles, descriptor: Descriptor, diffId: string): LayerPart {
  return async (writer, told) => {
    const plain = await decompressed(await blob(files, descriptor))
    const source = new ByteSource(verified(plain, diffId, undefined))
    await unpack(readTar(source), writer, told)
    // What is behind the end of the archive belongs to the digest.
    await source.skip(Number.MAX_SAFE_INTEGER)
  }
}

async function blob(files: ImageFiles, { digest, size }: Descriptor): Promise<AsyncIterable<Uint8Array>> {
  const [algorithm = '', digits = ''] = digest.split(':')
  if (!/^sha(256|512)$/.test(algorithm) || !/^[0-9a-f]{64,128}$/.test(digits))
    throw new OptionError('from', `the image names something by the digest ${JSON.stringify(digest)}, which is none`)
  const found = await files.read(`blobs/${algorithm}/${digits}`)
  if (found === undefined) throw new OptionError('from', `the image lacks ${digest}; fetch it again`)
  if (found.size !== size)
    throw new OptionError('from', `${digest} has ${found.size} bytes instead of ${size}; fetch it again`)
  return verified(found.pieces, digest, size)
}

/** The same pieces. Fails at the end if they do not have this digest. */
async function* verified(
  pieces: AsyncIterable<Uint8Array>,
  digest: string,
  size: number | undefined,
): AsyncGenerator<Uint8Array> {
  const [algorithm = '', digits] = digest.split(':')
  const hash = createHash(algorithm === 'sha512' ? 'sha512' : 'sha256')
  let length = 0
  for await (const piece of pieces) {
    hash.update(piece)
    length += piece.length
    yield piece
  }
  if (hash.digest('hex') === digits && (size === undefined || size === length)) return
  throw new OptionError('from', `${digest} is damaged: its content has another digest; fetch it again`)
}

function layoutFiles(path: string): ImageFiles {
  const open: SourceFile[] = []
  return {
    async read(name) {
      try {
        const file = await SourceFile.open(join(path, name))
        open.push(file)
        return { size: file.size, pieces: file.whole() }
      } catch (error) {
        if (error instanceof OptionError && error.message.includes('there is no')) return undefined
        throw error
      }
    },
    async close() {
      for (const file of open.splice(0)) await file.close()
    },
  }
}

/** The members of an archive by their names. It must not be compressed as a whole, because they are read in another order. */
async function archiveFiles(path: string): Promise<ImageFiles> {
  const file = await SourceFile.open(path)
  const places = new Map<string, { readonly at: number; readonly size: number }>()
  let at = 0
  const counted = async function* () {
    for await (const piece of file.whole()) {
      yield piece
      at += piece.length
    }
  }
  try {
    const source = new ByteSource(counted())
    for await (const { entry } of readTar(source)) {
      const name = entry.path.replace(/^\.\//, '')
      if (entry.type === 'file') places.set(name, { at: at + source.taken, size: entry.size })
    }
  } catch (error) {
    await file.close()
    throw error
  }
  return {
    async read(name) {
      const place = places.get(name)
      return place && { size: place.size, pieces: file.part(place.at, place.size) }
    },
    close: () => file.close(),
  }
}

function tagOf({ annotations }: Descriptor): string | undefined {
  return annotations?.['org.opencontainers.image.ref.name']
}

function isDescriptor(value: unknown): value is Descriptor {
  if (typeof value !== 'object' || value === null) return false
  const { mediaType, digest, size } = value as Record<string, unknown>
  return typeof mediaType === 'string' && typeof digest === 'string' && Number.isSafeInteger(size)
}
