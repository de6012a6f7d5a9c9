import { open } from 'node:fs/promises'

const MOST_BYTES = 64 * 1024

/** A secret in a file of its own, without the end of its line. @throws Error it cannot be read, is empty or too large, or other users can read it */
export async function readSecretFile(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { mode, size } = await file.stat()
    if ((mode & 0o007) !== 0) throw new Error(`all users of this machine can access ${path}; run chmod o= ${path}`)
    if (size > MOST_BYTES) throw new Error(`${path} is larger than ${MOST_BYTES} bytes; that is no secret`)
    const text = (await file.readFile('utf8')).replace(/\r?\n$/, '')
    if (text === '') throw new Error(`${path} is empty; write the secret into it`)
    return text
  } finally {
    await file.close()
  }
}

/** A file of certificates of trusted authorities, in PEM. @throws Error it cannot be read, or there is no certificate in it */
export async function readCaFile(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const text = await file.readFile('utf8')
    if (!text.includes('-----BEGIN CERTIFICATE-----'))
      throw new Error(`there is no certificate in ${path}; write it as PEM`)
    return text
  } finally {
    await file.close()
  }
}
