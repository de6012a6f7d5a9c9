import { createConnection, type NetConnectOpts, type Socket } from 'node:net'
import { Decoder } from '../xdr/decoder.ts'
import { Encoder } from '../xdr/encoder.ts'
import { AUTH_NONE, CALL, LAST_FRAGMENT, MSG_ACCEPTED, RPC_VERSION, SUCCESS } from './constants.ts'

const PMAP_PROGRAM = 100000
const PMAP_V2 = 2
const PMAPPROC_SET = 1
const PMAPPROC_UNSET = 2
const PMAPPROC_GETPORT = 3
const RPCB_V4 = 4
const RPCBPROC_SET = 1
const RPCBPROC_UNSET = 2
const IPPROTO_TCP = 6
const IPPROTO_UDP = 17
const TIMEOUT_MS = 3000
const REPLY_BYTES = 32

/** Where rpcbind listens for local programs; the socket identifies the caller. */
export const RPCBIND_ENDPOINTS: readonly NetConnectOpts[] = [
  { path: '/run/rpcbind.sock' },
  { host: '127.0.0.1', port: 111 },
]

/** A program to register with rpcbind. */
export interface Registration {
  readonly program: number
  readonly version: number
  readonly port: number
  /** TCP by default. */
  readonly transport?: 'tcp' | 'udp'
  /** Whether it is also reachable over IPv6, which rpcbind registers separately. */
  readonly ipv6?: boolean
  /** Whether another local server of it (such as the kernel's lock manager) keeps its registration. */
  readonly yields?: boolean
}

/**
 * Registers programs with the local rpcbind (PMAP version 2, for IPv6 also RPCB version 4, RFC 1833), replacing earlier registrations. Returns the registered ones: all except
 * those that yield to another server on this machine.
 *
 * @throws Error rpcbind cannot be reached, or refuses
 */
export async function register(
  registrations: readonly Registration[],
  endpoints: readonly NetConnectOpts[] = RPCBIND_ENDPOINTS,
): Promise<Registration[]> {
  const made: Registration[] = []
  await withRpcbind(endpoints, async (socket) => {
    for (const registration of registrations) {
      if (registration.yields && (await isServed(socket, registration))) continue
      made.push(registration)
    }
    await takeBack(socket, made)
    for (const registration of made) {
      const known = (await ask(socket, PMAPPROC_SET, registration)) === 1
      if (!known || (registration.ipv6 && (await askIpv6(socket, RPCBPROC_SET, registration)) !== 1)) {
        throw new Error(`rpcbind refused program ${registration.program} version ${registration.version}`)
      }
    }
  })
  return made
}

/** Removes the programs. @throws Error rpcbind cannot be reached */
export async function unregister(
  registrations: readonly Registration[],
  endpoints: readonly NetConnectOpts[] = RPCBIND_ENDPOINTS,
): Promise<void> {
  await withRpcbind(endpoints, async (socket) => {
    await takeBack(socket, registrations)
  })
}

async function takeBack(socket: Socket, registrations: readonly Registration[]): Promise<void> {
  for (const registration of oncePerVersion(registrations)) await ask(socket, PMAPPROC_UNSET, registration)
  for (const registration of registrations) {
    if (registration.ipv6) await askIpv6(socket, RPCBPROC_UNSET, registration)
  }
}

/** UNSET removes a program from all IPv4 transports, whichever one it names. */
function oncePerVersion(registrations: readonly Registration[]): Registration[] {
  const byVersion = new Map(registrations.map((entry) => [`${entry.program} ${entry.version}`, entry]))
  return [...byVersion.values()]
}

/** Whether rpcbind still has the programs, which it loses when it restarts. @throws Error it cannot be reached */
export async function isRegistered(
  registrations: readonly Registration[],
  endpoints: readonly NetConnectOpts[] = RPCBIND_ENDPOINTS,
): Promise<boolean> {
  let all = true
  await withRpcbind(endpoints, async (socket) => {
    for (const registration of registrations) {
      all &&= (await ask(socket, PMAPPROC_GETPORT, registration)) === registration.port
    }
  })
  return all
}

/** Whether another local server has the program: it is registered and accepts connections, unlike a leftover of a crash. */
async function isServed(socket: Socket, registration: Registration): Promise<boolean> {
  const port = await ask(socket, PMAPPROC_GETPORT, { ...registration, transport: 'tcp' })
  if (port === 0 || port === registration.port) return false
  try {
    const connection = await connect({ host: '127.0.0.1', port })
    connection.destroy()
    return true
  } catch (error) {
    // Nobody is listening, which answers the question.
    if (error instanceof Error) return false
    throw error
  }
}

async function withRpcbind(
  endpoints: readonly NetConnectOpts[],
  use: (socket: Socket) => Promise<void>,
): Promise<void> {
  const socket = await connectFirst(endpoints)
  try {
    await use(socket)
  } finally {
    socket.destroy()
  }
}

async function connectFirst(endpoints: readonly NetConnectOpts[]): Promise<Socket> {
  const failures: string[] = []
  for (const endpoint of endpoints) {
    try {
      return await connect(endpoint)
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error))
    }
  }
  throw new Error(`cannot reach rpcbind: ${failures.join('; ')}`)
}

function connect(endpoint: NetConnectOpts): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(endpoint)
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

/** Calls the portmapper. */
function ask(socket: Socket, procedure: number, registration: Registration): Promise<number> {
  return exchange(socket, encodeCall(PMAP_V2, procedure, pmapArguments(registration)))
}

/** Calls rpcbind about a program on IPv6. */
function askIpv6(socket: Socket, procedure: number, registration: Registration): Promise<number> {
  return exchange(socket, encodeCall(RPCB_V4, procedure, rpcbArguments(registration)))
}

/** Sends a call and returns the word in the reply. Only one call is in progress at a time. */
function exchange(socket: Socket, call: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0)
    const onData = (data: Buffer): void => {
      received = Buffer.concat([received, data])
      if (received.length < REPLY_BYTES) return
      stop()
      try {
        resolve(parseReply(received))
      } catch (error) {
        reject(error)
      }
    }
    const onError = (error: Error): void => {
      stop()
      reject(error)
    }
    const onEnd = (): void => onError(new Error('rpcbind closed the connection'))
    const stop = (): void => {
      socket.off('data', onData)
      socket.off('error', onError)
      socket.off('end', onEnd)
    }
    socket.on('data', onData)
    socket.on('error', onError)
    socket.on('end', onEnd)
    socket.write(call)
  })
}

function encodeCall(version: number, procedure: number, args: Uint8Array): Uint8Array {
  const out = new Encoder(Buffer.alloc(44 + args.length))
  const header = [LAST_FRAGMENT + 40 + args.length, procedure, CALL, RPC_VERSION, PMAP_PROGRAM, version, procedure]
  for (const word of [...header, AUTH_NONE, 0, AUTH_NONE, 0]) out.u32(word)
  out.fixedOpaque(args)
  return out.bytes
}

/** `mapping` of version 2. */
function pmapArguments({ program, version, port, transport }: Registration): Uint8Array {
  const out = new Encoder(Buffer.alloc(16))
  for (const word of [program, version, transport === 'udp' ? IPPROTO_UDP : IPPROTO_TCP, port]) out.u32(word)
  return out.bytes
}

/** `rpcb` of version 4. rpcbind determines the owner from its socket and ignores ours. */
function rpcbArguments({ program, version, port, transport = 'tcp' }: Registration): Uint8Array {
  const out = new Encoder(Buffer.alloc(64))
  out.u32(program)
  out.u32(version)
  for (const text of [`${transport}6`, `::.${port >> 8}.${port & 0xff}`, '']) out.string(text)
  return out.bytes.subarray(0, out.pos)
}

/** Record mark, xid, REPLY, accepted, empty verifier, SUCCESS, one word. */
function parseReply(bytes: Buffer): number {
  const reply = new Decoder(bytes)
  reply.take(12)
  const accepted = reply.u32() === MSG_ACCEPTED
  reply.take(8)
  if (!accepted || reply.u32() !== SUCCESS) throw new Error('rpcbind rejected the call')
  return reply.u32()
}
