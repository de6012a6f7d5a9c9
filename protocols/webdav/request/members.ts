import {
  type Attr,
  type DirEntryPlus,
  FileType,
  type Inode,
  isErrno,
  loopBudget,
  type Name,
} from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { isDirectory, isVisible, resolve, type Target } from './resolve.ts'

/** A member of a collection as clients see it. */
export interface Member {
  readonly name: Name
  /** Its path with symlinks resolved, which locks use. */
  readonly names: readonly Name[]
  readonly collection: boolean
  /** Object and attributes; undefined if the caller may see only the name. */
  readonly inode: Inode | undefined
  readonly attr: Attr | undefined
}

const BATCH = 512

/**
 * Lists the collection in batches. Symlinks are shown as their targets; dangling ones and special files are
 * omitted.
 *
 * @throws EACCES no read permission
 */
export async function* memberBatches(collection: Target & { readonly inode: Inode }): AsyncGenerator<Member[]> {
  const { view, inode } = collection
  let cookie = 0
  for (let done = false; !done; ) {
    const entries: DirEntryPlus[] = []
    const walked = view.overlay.readdirPlus(view.cred, inode, cookie, (entry) => {
      if (entries.length === BATCH) return false
      entries.push(entry)
      return true
    })
    done = walked instanceof Promise ? await walked : walked
    if (entries.length === 0) return
    cookie = entries[entries.length - 1].cookie
    const members: Member[] = []
    for (const entry of entries) {
      if (loopBudget.spent) await loopBudget.rest()
      const member =
        entry.type === FileType.symlink ? await throughSymlink(collection, entry) : plain(collection, entry)
      if (member !== undefined) members.push(member)
    }
    yield members
  }
}

function plain(parent: Target, { name, type, inode, attr }: DirEntryPlus): Member | undefined {
  if (type !== FileType.regular && type !== FileType.directory) return undefined
  return { name, names: [...parent.names, name], collection: type === FileType.directory, inode, attr }
}

async function throughSymlink(collection: Target, { name }: DirEntryPlus): Promise<Member | undefined> {
  const { symlinks } = collection.view
  if (symlinks === 'hide') return undefined
  if (symlinks === 'refuse') {
    return { name, names: [...collection.names, name], collection: false, inode: undefined, attr: undefined }
  }
  try {
    const target = await resolve(collection.view, [...collection.names, name], true)
    const { inode, names } = target
    if (inode === undefined || !isVisible(inode)) return undefined
    return { name, names, collection: isDirectory(inode), inode, attr: await collection.view.overlay.getattr(inode) }
  } catch (error) {
    // A target that the caller cannot reach, or that was removed meanwhile, counts as dangling.
    if (isErrno(error, 'EACCES', 'ESTALE', 'ENAMETOOLONG') || error instanceof DavError) return undefined
    throw error
  }
}
