import { connect } from 'node:net'
import fastify from 'fastify'
import type { Test } from 'tap'
import { Client } from 'undici'
import type {
  Cred,
  CredOf,
  Foreseen,
  OpenFile,
  Overlay,
  ResumableOptions,
  StagedFile,
} from '../../../overlay-core/index.ts'
import { type DavHandle, type DavLimits, HTTP_MESSAGES, registerWebDav } from '../../../protocols/webdav/index.ts'
import { allPassFastify } from '../../helpers/all-pass-fastify.ts'
import { type Fixture, ROOT, type Tree, withOverlay } from '../../helpers/overlay.ts'

/** What a client got. */
export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
}

/** How a request departs from a plain one. */
export interface Ask {
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>
}

/** A server over a fixture, and what tests do with it. */
export interface Dav extends Fixture {
  readonly port: number
  readonly handle: DavHandle
  readonly client: Client
  /** What the server logged as a warning or an error. */
  readonly logged: { level: string; message: string; details: object }[]
  /** The server's clock, ms. */
  clock: { nowMs: number }
  /** Files opened and not yet closed, files staged and neither published nor discarded. */
  readonly held: { open: number; staged: number }
  /** Sends a request whose target is `path` as it is. */
  ask(method: string, path: string, ask?: Ask): Promise<Answer>
  /** Sends bytes over a connection of its own and returns all that came until the server closed it or `until` was seen. */
  raw(bytes: string, until?: RegExp): Promise<string>
}

/** Settings of `withDav` beyond those of the overlay. */
export interface DavSettings {
  readonly limits?: Partial<DavLimits>
  readonly symlinks?: 'follow' | 'hide' | 'refuse'
  readonly cred?: Cred
  readonly readOnly?: boolean
  readonly depthInfinity?: boolean
  readonly upper?: Tree
  readonly options?: string
  /** Names of views over the same overlay, beside `overlay`. */
  readonly moreViews?: readonly string[]
  readonly prepare?: (lowers: readonly string[]) => void
}

/** Serves an overlay of `lowers` (topmost first) at `/overlay/` on a free port, and checks afterwards that no file is left open. */
export async function withDav(
  t: Test,
  lowers: readonly Tree[],
  test: (dav: Dav) => Promise<void>,
  settings: DavSettings = {},
): Promise<void> {
  const {
    limits = {},
    symlinks = 'follow',
    cred = ROOT,
    moreViews = [],
    depthInfinity = false,
    ...ofOverlay
  } = settings
  await withOverlay(
    t,
    lowers,
    async (fixture) => {
      const app = fastify({ logger: false, forceCloseConnections: true, http: HTTP_MESSAGES })
      const direct = allPassFastify(app.server)
      const logged: Dav['logged'] = []
      const clock = { nowMs: Date.now() }
      const held = { open: 0, staged: 0 }
      const note = (level: string) => (details: object, message: string) =>
        void logged.push({ level, message, details })
      const ignore = () => undefined
      const overlay = counting(fixture.overlay, held)
      const handle = registerWebDav(app, {
        views: ['overlay', ...moreViews].map((name) => ({ name, overlay, as: cred, symlinks })),
        log: { debug: ignore, info: ignore, warn: note('warn'), error: note('error') },
        now: () => clock.nowMs,
        limits,
        depthInfinity,
      })
      direct.goTo(handle)
      await app.listen({ port: 0, host: '127.0.0.1' })
      const { port } = app.server.address() as { port: number }
      const client = new Client(`http://127.0.0.1:${port}`, { pipelining: 1 })
      try {
        await test({
          ...fixture,
          overlay: fixture.overlay,
          port,
          handle,
          client,
          logged,
          clock,
          held,
          ask: (method, path, request = {}) => ask(client, method, path, request),
          raw: (bytes, until) => raw(port, bytes, until),
        })
        t.same(
          logged.filter(({ level }) => level === 'error'),
          [],
          'no fault is logged',
        )
      } finally {
        await client.destroy()
        await app.close()
        await handle.close()
      }
      t.same(held, { open: 0, staged: 0 }, 'no file is left open')
    },
    ofOverlay,
  )
}

async function ask(client: Client, method: string, path: string, { headers, body }: Ask): Promise<Answer> {
  const answer = await client.request({
    method: method as 'GET',
    path,
    headers: headers ?? {},
    body: (body ?? null) as string | null,
  })
  const bytes = Buffer.from(await answer.body.arrayBuffer())
  return { status: answer.statusCode, headers: answer.headers, body: bytes.toString('latin1') }
}

function raw(port: number, bytes: string, until: RegExp | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    socket.on('data', (piece) => {
      text += piece.toString('latin1')
      if (until?.test(text)) socket.destroy()
    })
    socket.on('close', () => resolve(text))
    socket.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? resolve(text) : reject(error)))
  })
}

/** The overlay itself, with a count of what its callers have to end. */
function counting(overlay: Overlay, held: { open: number; staged: number }): Overlay {
  const open = async (...args: Parameters<Overlay['open']>): Promise<OpenFile> => {
    const file = await overlay.open(...args)
    held.open++
    return passOn(file, {
      close: () => {
        held.open--
        file.close()
      },
    })
  }
  const stage = async (cred: Cred, foreseen?: Foreseen, keep?: ResumableOptions) =>
    count(await overlay.stage(cred, foreseen, keep))
  const resumableStages = async (credOf: CredOf) =>
    (await overlay.resumableStages(credOf)).map((kept) => ({ ...kept, staged: count(kept.staged) }))
  const count = (staged: StagedFile): StagedFile => {
    held.staged++
    let ended = false
    const end = () => {
      if (!ended) held.staged--
      ended = true
    }
    return passOn(staged, {
      publish: async (options) => {
        const inode = await staged.publish(options)
        end()
        return inode
      },
      discard: async () => {
        await staged.discard()
        end()
      },
      suspend: async () => {
        await staged.suspend()
        end()
      },
    })
  }
  return passOn(overlay, { open, stage, resumableStages })
}

function passOn<T extends object>(target: T, instead: Partial<T>): T {
  return new Proxy(target, {
    get(_, key) {
      const own = instead[key as keyof T]
      if (own !== undefined) return own
      const value = target[key as keyof T]
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries > 2000) throw new Error('it never came to that')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** The hrefs of a multistatus, in order. */
export function hrefs(body: string): string[] {
  return [...body.matchAll(/<D:response><D:href>([^<]*)<\/D:href>/g)].map((found) => found[1] as string)
}

/** The content of the first element `name` (with prefix) in a body; undefined when there is none. */
export function element(body: string, name: string): string | undefined {
  const found = new RegExp(`<${name}(?: [^>]*)?(?:/>|>(.*?)</${name}>)`, 's').exec(body)
  return found === null ? undefined : (found[1] ?? '')
}

/** A LOCK body. */
export function lockInfo(scope: 'exclusive' | 'shared' = 'exclusive'): string {
  return (
    '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:">' +
    `<D:lockscope><D:${scope}/></D:lockscope><D:locktype><D:write/></D:locktype>` +
    '<D:owner><D:href>http://example.org/~me</D:href></D:owner></D:lockinfo>'
  )
}

/** The token of an answer to LOCK. */
export function tokenOf(answer: Answer): string {
  return String(answer.headers['lock-token']).slice(1, -1)
}
