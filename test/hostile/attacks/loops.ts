import { NLM, NLM_PROCEDURES, NlmClient, type NlmLock, writeLock } from '../../helpers/nlm-client.ts'
import { authSys, callMessage, fragments, record, XdrWriter } from '../../helpers/rpc-client.ts'
import { ADDRESSES } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { type HttpRequest, http } from '../raw-http.ts'
import { AS_ROOT, type Target } from '../target.ts'

/** A SEARCH of as many `like`s as are allowed, each with as many wildcards as fit, over the names below `many`. */
function searchBody(likes: number): string {
  const like = (i: number) =>
    `<D:like><D:prop><D:displayname/></D:prop><D:literal>%${'a'.repeat(100)}b${i}%</D:literal></D:like>`
  return (
    '<D:searchrequest xmlns:D="DAV:"><D:basicsearch><D:select><D:prop><D:displayname/></D:prop></D:select>' +
    '<D:from><D:scope><D:href>/overlay/many/</D:href><D:depth>infinity</D:depth></D:scope></D:from>' +
    `<D:where><D:or>${Array.from({ length: likes }, (_, i) => like(i)).join('')}</D:or></D:where></D:basicsearch></D:searchrequest>`
  )
}

const SYNC =
  '<D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>1</D:sync-level>' +
  '<D:prop><D:getetag/><D:getcontentlength/></D:prop></D:sync-collection>'
const PROPERTIES =
  '<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/><D:getcontentlength/><D:getlastmodified/></D:prop></D:propfind>'

const xml = { 'content-type': 'application/xml' }

/** An attack by one request on a directory of 100,000 names. */
function overManyNames(
  name: string,
  what: string,
  requestOf: (round: number) => HttpRequest,
  statuses = [200, 207],
): Attack {
  return {
    name,
    by: 'client',
    what,
    quick: name === 'page-of-100000-names',
    async run(arena) {
      const target = await arena.start({
        overlay: arena.overlay(arena.fixtures.names(arena.size(100_000, 20_000))),
        flags: AS_ROOT,
      })
      let round = 0
      await arena.underLoad(target, () => ask(arena, target, requestOf(round++), statuses))
    },
  }
}

async function ask(arena: Arena, target: Target, request: HttpRequest, statuses: readonly number[]): Promise<void> {
  const { status, bytes, head } = await http(target.webdavPort!, { ...request, keep: false })
  arena.check(
    `${request.method} is answered`,
    statuses.includes(status),
    `${status}, ${bytes} bytes, ${head.slice(0, 60)}`,
  )
}

const searchLikes: Attack = {
  name: 'search-of-31-likes',
  by: 'client',
  what: 'SEARCH with 31 likes full of wildcards over 20,000 names of 200 bytes',
  quick: true,
  async run(arena) {
    const target = await arena.start({
      overlay: arena.overlay(arena.fixtures.names(arena.size(20_000, 4_000), 200)),
      flags: AS_ROOT,
    })
    await arena.underLoad(target, async () => {
      const before = target.meter.cpuMs()
      const request = { method: 'SEARCH', path: '/overlay/', headers: xml, body: searchBody(31) }
      await ask(arena, target, request, [207, 400, 403, 422, 507])
      arena.figure('processor', (target.meter.cpuMs() - before) / 1000, 's', 20)
    })
  },
}

/** 39 KB of UNLOCKs on a file with 5,000 locks, for which 256 wait. */
const unlockStorm: Attack = {
  name: 'nlm-unlock-storm',
  by: 'client',
  what: 'a file with 5,000 locks and 256 waits, and 39 KB of UNLOCKs, each of which lets all be looked at again',
  quick: true,
  async run(arena) {
    const lower = arena.fixtures.names(10)
    const target = await arena.start({ overlay: arena.overlay(lower), flags: AS_ROOT })
    const nfs = await target.nfs(ADDRESSES.attacker, 0)
    const handle = await nfs.walk(await nfs.mount(), 'many/0aaaaaaaaaaa')
    const lockOf = (svid: number, offset: number, length = 1): NlmLock => ({
      handle,
      owner: `o${svid}`,
      svid,
      offset: BigInt(offset),
      length: BigInt(length),
    })
    const holder = new NlmClient(nfs.rpc, 'holder', authSys(0, 0))
    const locks = arena.size(5000, 2000)
    for (let at = 0; at < locks; at += 200) {
      await Promise.all(Array.from({ length: 200 }, (_, i) => holder.lock(lockOf(at + i, 2 * (at + i)))))
    }
    const waiter = new NlmClient(await target.rpc(), 'waiter', authSys(0, 0))
    await Promise.all(
      Array.from({ length: 256 }, (_, i) => waiter.lock(lockOf(100_000 + i, 0, 1_000_000), { block: true })),
    )
    const storm = await target.rpc()
    let round = 0
    await arena.underLoad(target, async () => {
      const calls = Array.from({ length: 250 }, (_, i) => {
        const args = writeLock(new XdrWriter().opaque(Buffer.alloc(4)), 'holder', lockOf(i, 2 * i + 1))
        return callMessage(++round, [NLM, 4, NLM_PROCEDURES.UNLOCK], authSys(0, 0), args.bytes())
      })
      const last = storm.exchange(round, Buffer.concat(calls.map((call) => record(call))))
      await last
    })
    arena.defer(() => Promise.all([nfs.close(), waiter.rpc.close(), storm.close()]))
  },
}

/** Many calls in one record mark are one connection's own affair: others get their turn between them. */
const flood: Attack = {
  name: 'flood-of-calls',
  by: 'client',
  what: '16 connections of one client send GETATTRs and READDIRPLUSes of 10,000 names as fast as they can',
  quick: false,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10_000)), flags: AS_ROOT })
    const nfs = await target.nfs()
    const many = await nfs.walk(await nfs.mount(), 'many')
    const getattr = new XdrWriter().opaque(many).bytes()
    const list = new XdrWriter().opaque(many).u64(0).u64(0).u32(1_000_000).u32(1_000_000).bytes()
    const auth = authSys(1000, 1000)
    await arena.underLoad(target, async () => {
      const until = performance.now() + arena.size(5000, 2000)
      await Promise.all(
        Array.from({ length: 16 }, async () => {
          const rpc = await target.rpc()
          for (let xid = 1; performance.now() < until; xid += 21) {
            const calls = Array.from({ length: 20 }, (_, i) =>
              fragments([callMessage(xid + i, [100003, 3, 1], auth, getattr)]),
            )
            calls.push(record(callMessage(xid + 20, [100003, 3, 17], auth, list)))
            await rpc.exchange(xid + 20, Buffer.concat(calls))
          }
          await rpc.close()
        }),
      )
    })
    await nfs.close()
  },
}

const copyAndDelete: Attack = {
  name: 'copy-and-delete-of-100000-names',
  by: 'client',
  what: 'COPY of a directory of 100,000 files, then DELETE of the copy',
  quick: false,
  async run(arena) {
    const target = await arena.start({
      overlay: arena.overlay(arena.fixtures.names(arena.size(100_000, 2_000))),
      flags: AS_ROOT,
    })
    let round = 0
    await arena.underLoad(target, async () => {
      const copy = `/overlay/copy-${round++}`
      const headers = { destination: copy }
      await ask(arena, target, { method: 'COPY', path: '/overlay/many/', headers }, [201])
      await ask(arena, target, { method: 'DELETE', path: `${copy}/` }, [204])
    })
  },
}

const moveOfMany: Attack = {
  name: 'move-of-100000-names',
  by: 'client',
  what: 'MOVE of a directory of 100,000 files with a lock below it, there and back, and DELETE of the original',
  quick: false,
  async run(arena) {
    const target = await arena.start({
      overlay: arena.overlay(arena.fixtures.names(arena.size(100_000, 2_000))),
      flags: AS_ROOT,
    })
    await arena.underLoad(target, async () => {
      const there = { method: 'MOVE', path: '/overlay/many/', headers: { destination: '/overlay/moved' } }
      await ask(arena, target, there, [201, 204])
      const back = { method: 'MOVE', path: '/overlay/moved/', headers: { destination: '/overlay/many' } }
      await ask(arena, target, back, [201, 204])
    })
    await arena.underLoad(target, () => ask(arena, target, { method: 'DELETE', path: '/overlay/many/' }, [204, 404]))
  },
}

export const LOOPS: readonly Attack[] = [
  searchLikes,
  unlockStorm,
  overManyNames('page-of-100000-names', 'GET of the page of a directory of 100,000 names', () => ({
    method: 'GET',
    path: '/overlay/many/',
    headers: { accept: 'text/html' },
  })),
  overManyNames('page-of-100000-removed-names', 'GET of the page of what was removed, beside 100,000 names', () => ({
    method: 'GET',
    path: '/overlay/many/?removed',
    headers: { accept: 'text/html' },
  })),
  overManyNames(
    'sync-of-100000-names',
    'a sync-collection report of a directory of 100,000 names',
    () => ({
      method: 'REPORT',
      path: '/overlay/many/',
      headers: { depth: '0', ...xml },
      body: SYNC,
    }),
    [207, 507],
  ),
  overManyNames('propfind-of-100000-names', 'PROPFIND with Depth 1 of a directory of 100,000 names', () => ({
    method: 'PROPFIND',
    path: '/overlay/many/',
    headers: { depth: '1', ...xml },
    body: PROPERTIES,
  })),
  overManyNames('zip-of-100000-names', 'a zip archive of a directory of 100,000 files', () => ({
    method: 'GET',
    path: '/overlay/many/?archive=zip',
  })),
  overManyNames('tar-of-100000-names', 'a tar.gz archive of a directory of 100,000 files', () => ({
    method: 'GET',
    path: '/overlay/many/?archive=tar.gz',
  })),
  copyAndDelete,
  moveOfMany,
  flood,
]
