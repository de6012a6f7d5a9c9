import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

/** What fits into `sun_path` (unix(7)), without the final zero. */
const MOST_BYTES = 107

/** A path by which a Unix socket can be bound or connected to. */
export interface SocketPath {
  readonly path: string
  /** After this the path may mean nothing. */
  close(): Promise<void>
}

/** A path of a socket that is short enough for the kernel, however deep its directory is. @throws an error of opening the directory */
export async function socketPath(path: string): Promise<SocketPath> {
  if (Buffer.byteLength(path) <= MOST_BYTES) return { path, close: async () => undefined }
  const directory: FileHandle = await open(dirname(path), 'r')
  return { path: `/proc/self/fd/${directory.fd}/${basename(path)}`, close: () => directory.close() }
}
