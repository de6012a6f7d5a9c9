import { FileType, type Inode, type Overlay } from '../../overlay-core/index.ts'
import { ROOT } from './root-cred.ts'
import type { SeedFile } from './seed-files.ts'
import { bytesOf, namesIn } from './view-files.ts'

/**
 * Writes files into a view as root of it. A file that is as it shall be is left alone, so that it takes no room in the upper. A path in which the machine has put
 * something else than directories is left out.
 *
 * @returns the paths that were left out
 */
export async function writeSeeds(overlay: Overlay, files: readonly SeedFile[]): Promise<string[]> {
  const left: string[] = []
  for (const file of files) {
    if (file.within !== undefined && (await directoryAt(overlay, file.within)) === undefined) continue
    if (!(await write(overlay, file))) left.push(file.path)
  }
  return left
}

/** Removes the host keys of SSH that came with the image: they would be the same on all machines. */
export async function removeClonedKeys(overlay: Overlay): Promise<void> {
  const dir = await directoryAt(overlay, '/etc/ssh')
  if (dir === undefined) return
  for (const name of await namesIn(overlay, dir)) {
    if (!/^ssh_host_\w+_key(\.pub)?$/.test(name) || /^ssh_host_ed25519_key(\.pub)?$/.test(name)) continue
    if ((await overlay.provenance(ROOT, dir, name)) !== 'lower') continue
    await overlay.unlink(ROOT, dir, name)
  }
}

/** A directory that is reached without symlinks. */
async function directoryAt(overlay: Overlay, path: string): Promise<Inode | undefined> {
  const names = namesOf(path)
  let at: Inode = overlay.root
  for (const name of names) {
    const next = await overlay.lookup(ROOT, at, name)
    if (next?.type !== FileType.directory) return undefined
    at = next
  }
  return at
}

async function write(overlay: Overlay, { path, content, mode }: SeedFile): Promise<boolean> {
  const names = namesOf(path)
  const name = names.pop() as string
  let dir: Inode = overlay.root
  for (const each of names) {
    const next = await overlay.lookup(ROOT, dir, each)
    // Only root may look into what is made for its keys.
    if (next === undefined) dir = await overlay.mkdir(ROOT, dir, each, { mode: each === '.ssh' ? 0o700 : 0o755 })
    else if (next.type === FileType.directory) dir = next
    else return false
  }
  const present = await overlay.lookup(ROOT, dir, name)
  if (present?.type === FileType.directory) return false
  if (present?.type === FileType.regular && (await isAsWanted(overlay, present, content, mode))) return true
  // Not through a symlink.
  if (present !== undefined && present.type !== FileType.regular) await overlay.unlink(ROOT, dir, name)
  const staged = await overlay.stage(ROOT, { mode })
  try {
    await staged.append([content])
    // It takes over the mode and owner of a file that it replaces.
    const written = await staged.publish({ dir, name, mode })
    if (present !== undefined) await overlay.setattr(ROOT, written, { mode, uid: 0, gid: 0 })
  } catch (error) {
    await staged.discard()
    throw error
  }
  return true
}

async function isAsWanted(overlay: Overlay, inode: Inode, content: Uint8Array, mode: number): Promise<boolean> {
  const attr = await overlay.getattr(inode)
  if (attr.size !== content.length || attr.mode !== mode || attr.uid !== 0) return false
  const buffer = Buffer.alloc(content.length)
  const read = await overlay.read(ROOT, inode, buffer, 0, buffer.length, 0)
  return read === content.length && buffer.equals(content)
}

function namesOf(path: string): string[] {
  return bytesOf(path)
    .split('/')
    .filter((name) => name !== '' && name !== '.' && name !== '..')
}
