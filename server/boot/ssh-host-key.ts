import { generateKeyPairSync } from 'node:crypto'

/** A host key of sshd(8), in the formats of its files. */
export interface SshHostKey {
  readonly private: string
  readonly public: string
}

const TYPE = 'ssh-ed25519'

/** A new Ed25519 host key: its file as in PROTOCOL.key of OpenSSH without a passphrase, and its `.pub`. `check`: four random bytes. */
export function newSshHostKey(comment: string, check: Uint8Array): SshHostKey {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const [seed, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')]
  const open = Buffer.concat([text(TYPE), text(point)])
  const secret = Buffer.concat([check, check, open, text(Buffer.concat([seed, point])), text(comment)])
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, i) => i + 1))
  const whole = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...[text('none'), text('none'), text(''), Buffer.from([0, 0, 0, 1])],
    text(open),
    text(Buffer.concat([secret, padding])),
  ])
  const lines = whole.toString('base64').replace(/.{70}/g, '$&\n').trimEnd()
  return {
    private: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`,
    public: `${TYPE} ${open.toString('base64')} ${comment}\n`,
  }
}

/** A string of RFC 4251 section 5. */
function text(content: string | Uint8Array): Buffer {
  const bytes = Buffer.from(content as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
