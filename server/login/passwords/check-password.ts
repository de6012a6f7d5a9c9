import { argon2Sync, timingSafeEqual } from 'node:crypto'
import bcrypt from 'bcryptjs'
import { MOST_PASSWORD_BYTES, parseArgon2 } from './password-hash.ts'

/** bcrypt ignores what is behind this many bytes. */
const BCRYPT_BYTES = 72

/** Whether the hash is that of the password. Takes up to a second of the processor. */
export function isPassword(password: string, hash: string): boolean {
  if (Buffer.byteLength(password) > MOST_PASSWORD_BYTES) return false
  const argon2 = parseArgon2(hash)
  if (argon2 === undefined) return Buffer.byteLength(password) <= BCRYPT_BYTES && bcrypt.compareSync(password, hash)
  const { memory, passes, parallelism, salt, tag } = argon2
  const found = argon2Sync('argon2id', {
    ...{ memory, passes, parallelism },
    ...{ message: password, nonce: salt, tagLength: tag.length },
  })
  return timingSafeEqual(found, tag)
}
