import t from 'tap'
import { isPassword } from '../../../server/login/passwords/check-password.ts'
import { hashError, newHash } from '../../../server/login/passwords/password-hash.ts'

/** What `htpasswd -nbB -C 4 carol pw-carol` prints, and the same with a cost of 5. */
const BCRYPT = '$2y$05$9pCRwQmWdI7X1.3MA2vkD.RZ9EQrPd7rKwu8CERwLLjPufdB2WG.y'

t.test('passwords are compared with argon2id and with the bcrypt of htpasswd', async (t) => {
  const hash = newHash('correct horse', Buffer.alloc(16, 7))
  t.match(hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/)
  t.ok(isPassword('correct horse', hash))
  t.notOk(isPassword('correct horse ', hash))
  t.not(newHash('correct horse', Buffer.alloc(16, 8)), hash, 'another salt, another hash')
  t.ok(isPassword('pw-carol', BCRYPT))
  t.notOk(isPassword('pw-carl', BCRYPT))
  t.notOk(isPassword(`pw-carol${'x'.repeat(80)}`, BCRYPT), 'bcrypt would not look at the end of a long password')
  t.notOk(isPassword('x'.repeat(1025), hash))
})

t.test('the hash of another program is understood', async (t) => {
  // A test vector of the reference implementation of Argon2 (src/test.c).
  const hash = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'
  t.ok(isPassword('password', hash))
})

t.test('weak, unknown and too expensive hashes are refused with their mend', async (t) => {
  t.equal(hashError(BCRYPT), undefined)
  t.equal(hashError(newHash('x', Buffer.alloc(16))), undefined)
  t.match(hashError('$apr1$abcdefgh$0123456789012345678901'), /MD5.*use bcrypt or argon2id/)
  t.match(hashError('{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='), /SHA-1/)
  t.match(hashError('$6$salt$hash'), /crypt\(3\)/)
  t.match(hashError('plain text'), /no hash that is known/)
  t.match(hashError(''), /no hash that is known/)
  t.match(hashError(BCRYPT.replace('$05$', '$31$')), /cost of 31; use 4 to 14/)
  t.match(
    hashError('$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8'),
    /takes 4194304 KiB/,
  )
  t.match(hashError('$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8'), /no hash/)
  t.match(hashError('$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8'), /no hash/)
})
