import { loopBudget, OptionError, type TreeEntry, type TreeItem, type TreeWriter } from '../../overlay-core/index.ts'
import { OPAQUE_NAME, OWN_PREFIX, WHITEOUT_PREFIX } from './tar-header.ts'

/** The marks of the kernel's overlay that mean something only together with other layers. */
const NEED_OTHER_LAYERS = /^(trusted|user)\.overlay\.(redirect|metacopy)$/
const OPAQUE = /^(trusted|user)\.overlay\.opaque$/

/**
 * Unpacks the members of a tar file as a layer: `.wh.NAME` and `.wh..wh..opq` of OCI image layers, and devices 0:0 and opaque directories as the kernel's overlay has
 * them, become marks of the layer.
 *
 * @throws OptionError naming `from`: a member is impossible, or leads out of the layer
 */
export async function unpack(members: AsyncIterable<TreeItem>, writer: TreeWriter, told: () => void): Promise<void> {
  for await (const { entry, content } of members) {
    const path = cleanPath(entry.path)
    await unpackOne({ ...entry, path }, content, writer)
    told()
    if (loopBudget.spent) await loopBudget.rest()
  }
}

async function unpackOne(entry: TreeEntry, content: TreeItem['content'], writer: TreeWriter): Promise<void> {
  const { path, type, xattrs = new Map(), rdev } = entry
  const at = path.lastIndexOf('/') + 1
  const [above, name] = [path.slice(0, Math.max(0, at - 1)), path.slice(at)]
  if (name === OPAQUE_NAME) return await writer.addOpaque(above)
  // Marks of AUFS that say nothing about the content.
  if (name.startsWith(OWN_PREFIX)) return
  if (name.startsWith(WHITEOUT_PREFIX)) {
    const hidden = name.slice(WHITEOUT_PREFIX.length)
    return await writer.add({ entry: { ...entry, path: path.slice(0, at) + hidden, type: 'whiteout', size: 0 } })
  }
  if (type === 'char' && rdev?.major === 0 && rdev.minor === 0)
    return await writer.add({ entry: { ...entry, type: 'whiteout' } })
  for (const attr of xattrs.keys()) {
    if (!NEED_OTHER_LAYERS.test(attr)) continue
    throw new OptionError(
      'from',
      `${JSON.stringify(path)} has the mark ${attr}, so it means nothing without other layers`,
    )
  }
  const opaque = [...xattrs].some(([attr, value]) => OPAQUE.test(attr) && Buffer.from(value).toString() === 'y')
  const target = type === 'link' ? cleanPath(entry.target ?? '') : entry.target
  const cleaned = { ...entry, ...(opaque && { opaque }), ...(target !== undefined && { target }) }
  await writer.add(content ? { entry: cleaned, content } : { entry: cleaned })
}

/** A path in an archive without `./`, and slashes at its ends and in a row. `..` stays, and is refused. */
function cleanPath(path: string): string {
  return path
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .join('/')
}
