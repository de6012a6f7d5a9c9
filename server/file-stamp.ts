import { stat } from 'node:fs/promises'

/** A text that is another one after each change of a file. @throws Error it cannot be looked at */
export async function fileStamp(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true })
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
}
