import { createCipheriv, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

const HANDSHAKE = 22
const APPLICATION = 23
const TAG_BYTES = 16

/** The first bytes that a TLS client sends: what an attacker can send again and again, without computing anything. */
export async function clientHello(options: ConnectionOptions = {}): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connectTls({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, ...options })
  client.on('error', () => undefined)
  const [accepted] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(accepted, 'data')) as [Buffer]
  client.destroy()
  accepted.destroy()
  server.close()
  return hello
}

/** A handshake message in as many records as it needs. */
export function handshakeRecords(message: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < message.length; at += 16_384) {
    const part = message.subarray(at, at + 16_384)
    parts.push(Buffer.from([HANDSHAKE, 3, 1, part.length >> 8, part.length & 255]), part)
  }
  return Buffer.concat(parts)
}

/** `hello` with a further extension of so many bytes (RFC 8446 section 4.2), which nobody knows. */
export function enlarged(hello: Buffer, bytes: number): Buffer {
  const message = hello.subarray(5)
  // Version, random, session id, cipher suites, compression methods; then the length of all extensions.
  let at = 4 + 2 + 32
  at += 1 + message.readUInt8(at)
  at += 2 + message.readUInt16BE(at)
  at += 1 + message.readUInt8(at)
  const extensions = message.subarray(at + 2)
  const unknown = Buffer.alloc(4 + bytes)
  unknown.writeUInt16BE(0xfafa, 0)
  unknown.writeUInt16BE(bytes, 2)
  const body = Buffer.concat([message.subarray(4, at), u16(extensions.length + unknown.length), unknown, extensions])
  return handshakeRecords(
    Buffer.concat([Buffer.from([1, body.length >> 16, (body.length >> 8) & 255, body.length & 255]), body]),
  )
}

/** A client after a real handshake, whose further records are made here. */
export interface Forger {
  readonly raw: Socket
  /** The next record, with the type and content given. */
  record(type: number, content: Buffer): Buffer
  /** From the next record on with the key that follows a KeyUpdate (TLS 1.3). */
  updateKey(): void
}

/** Does a handshake of TLS 1.3 or 1.2 over `raw`, and takes the keys. What the server sends afterwards is dropped. */
export async function forge(
  raw: Socket,
  version: 'TLSv1.2' | 'TLSv1.3',
  options: ConnectionOptions = {},
): Promise<Forger> {
  const secrets = new Map<string, Buffer>()
  let received = Buffer.alloc(0)
  const between = new Duplex({
    read: () => undefined,
    write: (bytes: Buffer, _encoding, done) => void raw.write(bytes, done),
  })
  const take = (bytes: Buffer) => {
    if (received.length < 100) received = Buffer.concat([received, bytes])
    between.push(bytes)
  }
  raw.on('data', take)
  raw.once('close', () => between.destroy())
  const client = connectTls({
    ...{ socket: between, minVersion: version, maxVersion: version, rejectUnauthorized: false },
    ciphers: version === 'TLSv1.3' ? 'TLS_AES_128_GCM_SHA256' : 'ECDHE-ECDSA-AES128-GCM-SHA256',
    ...options,
  })
  client.on('keylog', (line: Buffer) => {
    const [label, random, secret] = line.toString('latin1').trim().split(' ') as [string, string, string]
    secrets.set(label, Buffer.from(secret, 'hex'))
    secrets.set('random', Buffer.from(random, 'hex'))
  })
  client.on('error', () => undefined)
  await once(client, 'secureConnect')
  raw.off('data', take)
  raw.resume()
  // A record header, a message header and the version are before the random of the server.
  return version === 'TLSv1.3' ? forger13(raw, secrets) : forger12(raw, secrets, received.subarray(11, 43))
}

function forger13(raw: Socket, secrets: Map<string, Buffer>): Forger {
  let secret = secrets.get('CLIENT_TRAFFIC_SECRET_0')!
  let sequence = 0
  let [key, iv] = [expand(secret, 'key', 16), expand(secret, 'iv', 12)]
  return {
    raw,
    record(type, content) {
      const head = Buffer.concat([Buffer.from([APPLICATION, 3, 3]), u16(content.length + 1 + TAG_BYTES)])
      const cipher = createCipheriv('aes-128-gcm', key, nonceOf(iv, sequence++)).setAAD(head)
      const body = cipher.update(Buffer.concat([content, Buffer.from([type])]))
      cipher.final()
      return Buffer.concat([head, body, cipher.getAuthTag()])
    },
    updateKey() {
      secret = expand(secret, 'traffic upd', 32)
      key = expand(secret, 'key', 16)
      iv = expand(secret, 'iv', 12)
      sequence = 0
    },
  }
}

function forger12(raw: Socket, secrets: Map<string, Buffer>, serverRandom: Buffer): Forger {
  const seed = Buffer.concat([serverRandom, secrets.get('random')!])
  const keys = prf(secrets.get('CLIENT_RANDOM')!, 'key expansion', seed, 40)
  const [key, salt] = [keys.subarray(0, 16), keys.subarray(32, 36)]
  // The first record with this key was Finished.
  let sequence = 1
  return {
    raw,
    record(type, content) {
      const explicit = Buffer.alloc(8)
      explicit.writeUInt32BE(sequence++, 4)
      const about = Buffer.concat([explicit, Buffer.from([type, 3, 3]), u16(content.length)])
      const cipher = createCipheriv('aes-128-gcm', key, Buffer.concat([salt, explicit])).setAAD(about)
      const body = cipher.update(content)
      cipher.final()
      const length = u16(explicit.length + body.length + TAG_BYTES)
      return Buffer.concat([Buffer.from([type, 3, 3]), length, explicit, body, cipher.getAuthTag()])
    },
    updateKey: () => undefined,
  }
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255])
}

function nonceOf(iv: Buffer, sequence: number): Buffer {
  const nonce = Buffer.from(iv)
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8)
  return nonce
}

/** HKDF-Expand-Label without context (RFC 8446 section 7.1). */
function expand(secret: Buffer, label: string, bytes: number): Buffer {
  const full = `tls13 ${label}`
  const info = Buffer.concat([u16(bytes), Buffer.from([full.length]), Buffer.from(full), Buffer.from([0])])
  return createHmac('sha256', secret)
    .update(Buffer.concat([info, Buffer.from([1])]))
    .digest()
    .subarray(0, bytes)
}

/** The pseudorandom function of TLS 1.2 (RFC 5246 section 5). */
function prf(secret: Buffer, label: string, seed: Buffer, bytes: number): Buffer {
  const all = Buffer.concat([Buffer.from(label), seed])
  const blocks: Buffer[] = []
  let a = all
  while (blocks.length * 32 < bytes) {
    a = createHmac('sha256', secret).update(a).digest()
    blocks.push(
      createHmac('sha256', secret)
        .update(Buffer.concat([a, all]))
        .digest(),
    )
  }
  return Buffer.concat(blocks).subarray(0, bytes)
}
