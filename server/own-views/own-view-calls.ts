import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { OptionError } from '../../overlay-core/index.ts'
import { patchText } from '../diff/patch-text.ts'
import type { DifferenceLine, DiffOrder } from '../diff/view-differences.ts'
import { type HttpLogin, MINE_PATH, may } from '../login/index.ts'
import type { KeptReport } from '../rebase/conflict-file.ts'
import type { SnapshotDescription, SnapshotOrder } from '../registry/snapshot-requests.ts'
import { Comparisons } from './comparisons.ts'

/** What the calls about one's own view need. */
export interface OwnViewParts {
  readonly login: HttpLogin
  /** The name of the view of a user in a template, if there is one. */
  viewOf(template: string, user: string): string | undefined
  differences(order: DiffOrder): Promise<AsyncIterable<string>>
  snapshots(order: SnapshotOrder): Promise<readonly SnapshotDescription[]>
  /** What came of the last update of a view; undefined if there was none. */
  conflicts(template: string, user: string): Promise<KeptReport | undefined>
}

interface ChangesQuery {
  readonly against?: string
  readonly path?: string
  readonly patch?: string
  readonly contents?: string
}

const CHANGES = {
  querystring: {
    type: 'object',
    properties: {
      against: { type: 'string' },
      path: { type: 'string' },
      patch: { type: 'string' },
      contents: { type: 'string' },
    },
  },
}

/**
 * Adds the calls about the own view of whoever asks, below `/-/mine/TEMPLATE`: `GET changes` (lines of JSON as `DifferenceLine`; `against`: the name of a snapshot;
 * `path`: only there; `contents`: with the content of a small file there; `patch`: the text of that file as a patch), `GET versions` and `GET conflicts`: what came of the last update (rebase), or null.
 */
export function addOwnViewCalls(app: FastifyInstance, parts: OwnViewParts): void {
  const comparisons = new Comparisons()
  app.get(`${MINE_PATH}/:template/changes`, { schema: CHANGES }, async (request, reply) =>
    answering(reply, async () => {
      const { view, user } = ownView(parts, request)
      if (!comparisons.begin(user)) throw new Refusal(429, 'a comparison runs already; try again soon')
      try {
        return await sendChanges(parts, view, request.query as ChangesQuery, reply, () => comparisons.end(user))
      } catch (error) {
        comparisons.end(user)
        throw error
      }
    }),
  )
  app.get(`${MINE_PATH}/:template/versions`, async (request, reply) =>
    answering(reply, async () => {
      const { view } = ownView(parts, request)
      const list = await parts.snapshots({ verb: 'list', view })
      return reply.send(list.map(({ name, created }) => ({ name, created })))
    }),
  )
  app.get(`${MINE_PATH}/:template/conflicts`, async (request, reply) =>
    answering(reply, async () => {
      const { view, user } = ownView(parts, request)
      const report = await parts.conflicts((request.params as { template: string }).template, user)
      if (report === undefined) return reply.type('application/json').send('null')
      const { at, from, to, conflicts, conflictCount, aside } = report
      return reply.send({ at, from, to, conflicts, conflictCount, aside: aside?.slice(view.length + 1) })
    }),
  )
}

/** Why a request is not answered. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** The view of whoever asks. A token is for programs and may be for a part of the view only. */
function ownView(
  { login, viewOf }: OwnViewParts,
  { raw, params }: FastifyRequest,
): { readonly view: string; readonly user: string } {
  const { user, token, roles } = login.userOf(raw)
  if (token !== undefined) throw new Refusal(403, 'log in with your password, not with a token')
  if (!may(roles, 'read own view')) throw new Refusal(403, 'you may not read this view')
  const view = viewOf((params as { template: string }).template, user)
  if (view === undefined) throw new Refusal(404, 'you have no view of this name yet')
  return { view, user }
}

async function answering(reply: FastifyReply, answer: () => Promise<FastifyReply>): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store')
  try {
    return await answer()
  } catch (error) {
    if (error instanceof Refusal) return reply.code(error.status).send({ error: error.message })
    if (!(error instanceof OptionError)) throw error
    return reply.code(400).send({ error: error.reason })
  }
}

async function sendChanges(
  { differences }: OwnViewParts,
  view: string,
  { against, path, patch, contents }: ChangesQuery,
  reply: FastifyReply,
  ended: () => void,
): Promise<FastifyReply> {
  const base = against === undefined ? {} : { against: `${view}@${against}` }
  const only = path === undefined ? {} : { paths: [path] }
  const order: DiffOrder = { view, ...base, ...only, contents: path !== undefined && (patch ?? contents) !== undefined }
  const lines = await differences(order)
  if (patch === undefined) return reply.type('application/x-ndjson').send(await streamOf(lines, ended))
  const text = await patchOf(lines, path)
  ended()
  return reply.type('text/plain; charset=utf-8').send(text)
}

/** Sends lines; `ended` is called once, when the client has all of them or is gone. */
async function streamOf(lines: AsyncIterable<string>, ended: () => void): Promise<Readable> {
  const iterator = lines[Symbol.asyncIterator]()
  // What has not begun would not let go of the view if the client is gone already.
  let next = Promise.resolve(await iterator.next())
  return new Readable({
    read() {
      next.then(
        ({ done, value }) => {
          if (!done) next = iterator.next()
          this.push(done ? null : value)
        },
        (error) => this.destroy(error),
      )
    },
    destroy(error, done) {
      const stopped = iterator.return?.() ?? Promise.resolve()
      stopped.then(() => done(error), done).finally(ended)
    },
  })
}

/** The patch of the file at `path` alone. */
async function patchOf(lines: AsyncIterable<string>, path: string | undefined): Promise<string> {
  for await (const text of lines) {
    const line = JSON.parse(text) as DifferenceLine
    if (line.path === path) return patchText(line)
  }
  return ''
}
