import { realpath } from 'node:fs/promises'

/** The path without symlinks, `.` and `..`, for comparing the positions of directories. @throws the error of node:fs, with `code` */
export async function canonicalPath(path: string): Promise<string> {
  return await realpath(path)
}
