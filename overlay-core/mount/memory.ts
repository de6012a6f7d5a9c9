import { tmpdir } from 'node:os'
import { isUnwritable } from '../api/errno.ts'
import type { InDirectory } from '../base/log-file.ts'
import { HandleFile } from '../objects/handle-file.ts'
import { readdirFd } from '../sys/dir.ts'
import { IdentityKeeper } from './identity-keeper.ts'
import type { Roots } from './roots.ts'

/** Directories for files that end with the process. */
const TEMPORARY = [tmpdir(), '/dev/shm']

/** What an overlay remembers of its objects and of its layers. */
export interface Memory {
  readonly handleFile: HandleFile
  readonly keeper: IdentityKeeper
}

/** Opens the log of handles of an overlay and what identities depend on. */
export async function openMemory(
  roots: Roots,
  within: InDirectory,
  session: Uint8Array,
  handleDirectory: string | undefined,
): Promise<Memory> {
  const handleFile = roots.work
    ? await handleFileIn(roots.work.fd, roots.workNames, within)
    : await handleFileOf(handleDirectory)
  try {
    const keeper = roots.work
      ? await IdentityKeeper.open(roots.work.fd, session, roots.workNames, within)
      : await IdentityKeeper.open(handleFile.directoryFd, session)
    return { handleFile, keeper }
  } catch (error) {
    handleFile.close()
    throw error
  }
}

/** Opens the log in a directory that nobody else uses; without one, in a file that ends with the process. */
export async function handleFileOf(directory: string | undefined): Promise<HandleFile> {
  const open = async (dirFd: number) => {
    // A file that is missing is created when there are records, as soon as there is space.
    const names = new Set((await readdirFd(dirFd)).map(({ name }) => name))
    return await handleFileIn(dirFd, names)
  }
  const kept = directory === undefined ? undefined : await HandleFile.claim(directory, open)
  return kept ?? (await HandleFile.nameless(TEMPORARY))
}

/** Opens the log in its directory; while that cannot be written, a copy of it. */
async function handleFileIn(dirFd: number, names?: ReadonlySet<string>, within?: InDirectory): Promise<HandleFile> {
  try {
    return await HandleFile.in(dirFd, names, within)
  } catch (error) {
    if (!isUnwritable(error)) throw error
    return await HandleFile.copyOf(dirFd, TEMPORARY)
  }
}
