import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scratch } from './scratch.ts'
import { defaultTimeoutMs, killGroup, printfEscape, type Shell, ShellError } from './shell.ts'

/** A running Linux kernel with its NFS client, and a root shell on it. 127.0.0.1 of this machine is 10.0.2.2 there. */
export interface KernelClient {
  readonly sh: Shell
  /** What runs it, and why, in one line. */
  readonly accelerator: string
  /** Turns it off. */
  stop(): void
}

const runPath = join(dirname(fileURLToPath(import.meta.url)), '..', 'kernel-client', 'run')

/** More than a kernel prints that boots; what a machine prints without end is kept to its last lines. */
const MOST_PRINTED = 256 * 1024

/**
 * Boots the kernel client (in software emulation about 6 s); it is turned off with the scratch folder. It runs with KVM where guests
 * come up with it, and says at the start of the test which of the two it is.
 *
 * @param options `tap` becomes its second network interface; `env` is set for the scripts in test/external/kernel-client
 * @throws Error it did not come up within `timeoutMs`, or ended, with all that qemu printed
 */
export async function bootKernelClient(
  scratch: Scratch,
  { timeoutMs = 120_000, tap, env }: { timeoutMs?: number; tap?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<KernelClient> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const child = spawn(runPath, ['--shell', String(port)], {
    detached: true,
    env: { ...process.env, ...env, TMPDIR: scratch.path, ...(tap && { KERNEL_CLIENT_TAP: tap }) },
    // What the client prints is also among what qemu prints.
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
  let printed = ''
  child.stderr.on('data', (chunk: Buffer) => {
    printed = (printed + chunk.toString('latin1').replaceAll('\r', '')).slice(-MOST_PRINTED)
  })
  const stop = () => killGroup(child.pid, 'SIGTERM')
  const said = () => (printed.trim() === '' ? 'nothing was printed' : `qemu and its script printed:\n${printed}`)
  const socket = await new Promise<Socket>((resolve, reject) => {
    const timer = setTimeout(() => {
      stop()
      reject(new Error(`the kernel client did not come up within ${timeoutMs / 1000} s; ${said()}`))
    }, timeoutMs)
    child.on('error', reject)
    child.on('close', (status) => {
      clearTimeout(timer)
      reject(new Error(`the kernel client ended with ${status}; ${said()}`))
    })
    server.on('connection', (connection) => {
      clearTimeout(timer)
      resolve(connection)
    })
  }).finally(() => server.close())
  scratch.defer(() => {
    socket.destroy()
    stop()
  })
  const accelerator = /^kernel client: (.*)$/m.exec(printed)?.[1] ?? 'runs'
  scratch.comment(`the kernel client ${accelerator}`)
  return {
    sh: remoteShell(socket),
    accelerator,
    stop: () => {
      socket.destroy()
      stop()
    },
  }
}

/**
 * A shell at the other end of `socket`. Each script runs in a fresh shell whose output goes to files; the reply is one line with status and
 * lengths, then the bytes.
 */
function remoteShell(socket: Socket): Shell {
  let last: Promise<unknown> = Promise.resolve()
  return (script, timeoutMs = defaultTimeoutMs) => {
    const mine = last.then(() => ask(socket, script, timeoutMs))
    last = mine.catch(() => undefined)
    return mine
  }
}

function ask(socket: Socket, script: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const reply: Buffer[] = []
    let received = 0
    let head: readonly [status: number, outLength: number, errorLength: number] | undefined
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      socket.off('data', onData).off('close', onClose).off('error', onClose)
      settle()
    }
    const onData = (chunk: Buffer) => {
      reply.push(chunk)
      received += chunk.length
      head ??= parseHead(reply)
      if (head === undefined) return
      const [status, outLength, errorLength] = head
      if (received < outLength + errorLength + headLength) return
      const body = Buffer.concat(reply).toString('latin1').slice(headLength)
      const out = body.slice(0, outLength)
      if (status === 0) finish(() => resolve(out))
      else finish(() => reject(new ShellError(script, status, out.slice(-2000) + body.slice(outLength))))
    }
    const onClose = () => finish(() => reject(new ShellError(script, undefined, 'the kernel client went away')))
    const timer = setTimeout(() => {
      // What runs there cannot be stopped from here: nothing more is asked of this machine.
      socket.destroy()
      finish(() => reject(new ShellError(script, undefined, `out of time after ${timeoutMs} ms`)))
    }, timeoutMs)
    if (socket.destroyed) return onClose()
    socket.on('data', onData).on('close', onClose).on('error', onClose)
    socket.write(
      `printf %b '${printfEscape(script)}' > /tmp/.script; sh -eu /tmp/.script < /dev/null > /tmp/.out 2> /tmp/.errors; ` +
        `printf '%3d %12d %12d\\n' $? $(stat -c %s /tmp/.out /tmp/.errors); cat /tmp/.out /tmp/.errors\n`,
    )
  })
}

/** Bytes of the line before each reply: status, length of the output, length of the errors. */
const headLength = 3 + 1 + 12 + 1 + 12 + 1

function parseHead(reply: readonly Buffer[]): [number, number, number] | undefined {
  const bytes = Buffer.concat(reply)
  if (bytes.length < headLength) return undefined
  const words = bytes.toString('latin1', 0, headLength).trim().split(/ +/)
  return words.map(Number) as [number, number, number]
}
