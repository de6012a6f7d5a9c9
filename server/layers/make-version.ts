import { mergeTree, OptionError, readTree, stripMarks, TreeWriter } from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'
import { deleteTree } from '../registry/delete-tree.ts'
import { newViewId } from '../registry/view-id.ts'
import { identityOf } from './layer-digest.ts'
import type { LayerContent, LayerPart } from './layer-source.ts'
import type { LayerVersion } from './version-record.ts'
import { type NewVersion, storeError, type VersionStore } from './version-store.ts'

/** How far a version is made. */
export interface LayerProgress {
  readonly step: 'writing' | 'verifying'
  /** Objects written, or bytes of the archive form verified. */
  readonly done: number
}

/** What making a version works with. */
export interface LayerParts {
  readonly store: VersionStore
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  /** Told often; must be quick. */
  readonly progress: (progress: LayerProgress) => void
  /** Ends the work early, if it is aborted. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Makes a version. It is durable then. After an error, or if the process ends, nothing of it
 * is there.
 *
 * @throws OptionError naming `layer`, `from` or `version`
 */
export async function makeVersion(
  { store, random, wallNow, progress, signal }: LayerParts,
  made: Omit<NewVersion, 'createdMs'>,
  content: LayerContent,
): Promise<LayerVersion> {
  try {
    const release = await store.shared()
    if (release === undefined)
      throw new OptionError('layer', 'unused content is being removed; try again when overlayd layer gc has ended')
    const id = newViewId(random)
    try {
      const { path, tree } = await store.begin(id)
      try {
        const told = counter((done) => progress({ step: 'writing', done }), signal)
        const { bytes, objects, userxattr } = await write(store, { path, tree, content, told: () => told(1) })
        const verified = counter((done) => progress({ step: 'verifying', done }), signal)
        const { digest, tarBytes } = await identityOf(readTree(tree), verified)
        await store.keep(path, { digest, tarBytes, bytes, objects, userxattr })
        return await store.publish({ ...made, createdMs: wallNow() }, digest, id)
      } catch (error) {
        await deleteTree(path)
        throw error
      }
    } finally {
      release()
    }
  } catch (error) {
    throw storeError(store.directory, error)
  }
}

interface Writing {
  readonly path: string
  readonly tree: string
  readonly content: LayerContent
  readonly told: () => void
}

async function write(store: VersionStore, { path, tree, content, told }: Writing) {
  const [first, ...others] = content.parts
  let userxattr = false
  const fill = async (directory: string, part: LayerPart) => {
    const writer = await TreeWriter.open(directory)
    try {
      await part(writer, told)
      await writer.finish()
      userxattr = writer.userxattr
      return writer
    } finally {
      writer.close()
    }
  }
  const { totals } = await fill(tree, first ?? (async () => undefined))
  if (others.length === 0) return { ...totals, userxattr }
  for (const [position, part] of others.entries()) {
    const upper = await store.addTree(path, `upper-${position}`)
    const { implied } = await fill(upper, part)
    await mergeTree(upper, tree, implied)
    await deleteTree(upper)
  }
  if (content.isWhole) await stripMarks(tree)
  return { ...(await totalsOf(tree)), userxattr }
}

async function totalsOf(tree: string): Promise<{ bytes: number; objects: number }> {
  let [bytes, objects] = [0, 0]
  for await (const { entry } of readTree(tree)) {
    bytes += entry.size
    objects++
  }
  return { bytes, objects }
}

/** Adds up, and tells the sum. @throws OptionError the work was ended */
function counter(tell: (done: number) => void, signal: AbortSignal | undefined): (more: number) => void {
  let done = 0
  return (more) => {
    if (signal?.aborted) throw new OptionError('layer', 'ended; nothing was added')
    done += more
    tell(done)
  }
}
