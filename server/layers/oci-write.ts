import { createHash } from 'node:crypto'
import { OptionError, type TreeItem } from '../../overlay-core/index.ts'
import { identityOf, type LayerIdentity } from './layer-digest.ts'
import { directoryHeader, fileHeader, paddingAfter, TAR_END } from './tar-header.ts'
import { tarOf } from './tar-write.ts'

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json'
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar'
const LAYOUT = '{"imageLayoutVersion":"1.0.0"}'
/** The names of architectures in images. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' }

/** A layer of an image, which is read twice: for its digest, and for its content. */
export interface ImageLayer {
  readonly items: () => AsyncIterable<TreeItem>
  /** If it is known. */
  readonly identity?: LayerIdentity
}

/**
 * The archive of an OCI image layout (image-spec 1.0) with one image of these layers, lowest first. The same layers and tag make the same bytes: there are no times
 * in it, and layers are not compressed.
 *
 * @throws OptionError naming `export`: a layer was changed meanwhile
 */
export async function* imageArchive(layers: readonly ImageLayer[], tag: string): AsyncGenerator<Uint8Array> {
  const known = await Promise.all(layers.map(async (layer) => layer.identity ?? (await identityOf(layer.items()))))
  const config = jsonBlob({
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: known.map(({ digest }) => digest) },
  })
  const manifest = jsonBlob({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: config.digest, size: config.bytes.length },
    layers: known.map(({ digest, tarBytes }) => ({ mediaType: LAYER_TYPE, digest, size: tarBytes })),
  })
  const index = jsonBlob({
    schemaVersion: 2,
    mediaType: INDEX_TYPE,
    manifests: [
      {
        ...{ mediaType: MANIFEST_TYPE, digest: manifest.digest, size: manifest.bytes.length },
        annotations: { 'org.opencontainers.image.ref.name': tag },
      },
    ],
  })
  yield* file('oci-layout', Buffer.from(LAYOUT))
  yield* file('index.json', index.bytes)
  yield directoryHeader('blobs')
  yield directoryHeader('blobs/sha256')
  for (const { digest, bytes } of [config, manifest]) yield* file(blobName(digest), bytes)
  const told = new Set<string>()
  for (const [position, { items }] of layers.entries()) {
    const identity = known[position] as LayerIdentity
    if (told.has(identity.digest)) continue
    told.add(identity.digest)
    yield fileHeader(blobName(identity.digest), identity.tarBytes)
    yield* unchanged(tarOf(items()), identity)
    yield paddingAfter(identity.tarBytes)
  }
  yield TAR_END
}

function* file(name: string, content: Uint8Array): Generator<Uint8Array> {
  yield fileHeader(name, content.length)
  yield content
  yield paddingAfter(content.length)
}

/** The same pieces. @throws OptionError they are others than those before */
async function* unchanged(
  pieces: AsyncIterable<Uint8Array>,
  { digest, tarBytes }: LayerIdentity,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let length = 0
  for await (const piece of pieces) {
    hash.update(piece)
    length += piece.length
    yield piece
  }
  if (`sha256:${hash.digest('hex')}` === digest && length === tarBytes) return
  throw new OptionError('export', 'a layer was changed while it was read; try again, or export a snapshot')
}

function jsonBlob(value: object): { digest: string; bytes: Buffer } {
  const bytes = Buffer.from(JSON.stringify(value))
  return { digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, bytes }
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}
