import { argon2Sync } from 'node:crypto'

/** The longest password, in bytes of UTF-8. Hashing a longer one would only cost time. */
export const MOST_PASSWORD_BYTES = 1024
/** The most that a hash of a password file may cost: a second of one processor, and 256 MiB. */
const MOST_COST = 14
const MOST_MEMORY_KIB = 256 * 1024
const MOST_WORK_KIB = 1024 * 1024

/** The parameters of new hashes: those that RFC 9106 and OWASP recommend for a server, 19 MiB and about 30 ms. */
const NEW = { memory: 19 * 1024, passes: 2, parallelism: 1, tagLength: 32 } as const
export const SALT_BYTES = 16

interface Argon2Hash {
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
  readonly salt: Buffer
  readonly tag: Buffer
}

/** The error in a hash of a password file; undefined if passwords can be compared with it. */
export function hashError(hash: string): string | undefined {
  const bcryptCost = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash)?.[1]
  if (bcryptCost !== undefined)
    return Number(bcryptCost) > MOST_COST || Number(bcryptCost) < 4
      ? `has a bcrypt cost of ${Number(bcryptCost)}; use 4 to ${MOST_COST}`
      : undefined
  const argon2 = parseArgon2(hash)
  if (argon2 === undefined) return `is ${kindOf(hash)}, which is not accepted; use bcrypt or argon2id`
  const { memory, passes } = argon2
  const costly = memory > MOST_MEMORY_KIB || memory * passes > MOST_WORK_KIB
  return costly ? `takes ${memory} KiB and ${passes} passes to check; use m=19456,t=2,p=1` : undefined
}

function kindOf(hash: string): string {
  if (hash.startsWith('$apr1$') || hash.startsWith('$1$')) return 'an MD5 hash'
  if (hash.startsWith('{SHA}')) return 'an SHA-1 hash'
  if (/^\$[56]\$/.test(hash)) return 'a crypt(3) hash'
  return 'no hash that is known'
}

/** Makes an argon2id hash in the form of PHC. Takes about 30 ms of the processor. */
export function newHash(password: string, salt: Uint8Array): string {
  const tag = argon2Sync('argon2id', { ...NEW, message: password, nonce: salt })
  const unpadded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=${NEW.memory},t=${NEW.passes},p=${NEW.parallelism}$${unpadded(salt)}$${unpadded(tag)}`
}

/** Parses an argon2id hash in the form of PHC; undefined if it is none. */
export function parseArgon2(hash: string): Argon2Hash | undefined {
  const found =
    /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,128})\$([A-Za-z0-9+/]{16,172})$/.exec(
      hash,
    )
  if (found === null) return undefined
  const [memory, passes, parallelism] = found.slice(1, 4).map(Number) as [number, number, number]
  if (passes < 1 || parallelism < 1 || memory < 8 * parallelism) return undefined
  const [salt, tag] = found.slice(4).map((text) => Buffer.from(text, 'base64')) as [Buffer, Buffer]
  return { memory, passes, parallelism, salt, tag }
}
