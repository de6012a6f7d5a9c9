import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Attack } from '../attack.ts'
import { http } from '../raw-http.ts'
import { AS_ROOT } from '../target.ts'

/** What a browser says about a request of a page at http://evil.example to this server. */
const FROM_ELSEWHERE = {
  origin: 'http://evil.example',
  'sec-fetch-site': 'cross-site',
  'sec-fetch-mode': 'cors',
  'sec-fetch-dest': 'empty',
}

const crossSite: Attack = {
  name: 'cross-site-requests',
  by: 'web page',
  what: 'a page of another origin sends all kinds of requests, with Fetch Metadata or only with Origin, and asks for what is expensive',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags: AS_ROOT })
    const requests: [method: string, path: string, headers?: Record<string, string>][] = [
      ['GET', '/overlay/many/?archive=zip'],
      ['GET', '/overlay/small'],
      ['HEAD', '/overlay/small'],
      ['OPTIONS', '/overlay/small', { 'access-control-request-method': 'PUT' }],
      ['PUT', '/overlay/made'],
      ['DELETE', '/overlay/small'],
      ['MKCOL', '/overlay/made'],
      ['MOVE', '/overlay/small', { destination: '/overlay/made' }],
      ['COPY', '/overlay/small', { destination: '/overlay/made' }],
      ['POST', '/overlay/?restore', { 'content-type': 'text/plain' }],
      ['PROPFIND', '/overlay/', { depth: '1' }],
      ['SEARCH', '/overlay/'],
    ]
    for (const [method, path, headers] of requests) {
      for (const marks of [FROM_ELSEWHERE, { origin: FROM_ELSEWHERE.origin }]) {
        const { status, head } = await http(target.webdavPort!, { method, path, headers: { ...headers, ...marks } })
        arena.check(`${method} is refused`, status === 403, `${method} ${path}: ${status}`)
        arena.check('no answer may be read', !/^access-control-allow/im.test(head), `${method} ${path}`)
      }
    }
    arena.check('nothing was made', !existsSync(join(arena.dir, 'upper/made')))
    const own = { origin: `http://127.0.0.1:${target.webdavPort}`, host: `127.0.0.1:${target.webdavPort}` }
    const put = await http(target.webdavPort!, { method: 'PUT', path: '/overlay/own', headers: own, body: 'x' })
    arena.check('its own page may', put.status === 201, put.status)
  },
}

const rebinding: Attack = {
  name: 'dns-rebinding',
  by: 'web page',
  what: 'a page whose name leads to this machine, so that it is of the same origin as the server',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)), flags: AS_ROOT })
    for (const host of ['evil.example', `evil.example:${target.webdavPort}`, '127.0.0.1.evil.example']) {
      for (const headers of [{ host }, { host, 'sec-fetch-site': 'same-origin', origin: `http://${host}` }]) {
        for (const [method, path] of [
          ['GET', '/overlay/small'],
          ['PUT', '/overlay/made'],
          ['GET', '/-/status'],
        ] as const) {
          const { status } = await http(target.webdavPort!, { method, path, headers })
          arena.check('a foreign name is refused', status === 421, `${host} ${method} ${path}: ${status}`)
        }
      }
    }
    const forwarded = { host: 'evil.example', 'x-forwarded-host': 'localhost', forwarded: 'host=localhost' }
    const { status } = await http(target.webdavPort!, { method: 'GET', path: '/overlay/small', headers: forwarded })
    arena.check('what it says of a proxy does not count', status === 421, status)
  },
}

const nfsFromPage: Attack = {
  name: 'http-to-the-nfs-port',
  by: 'web page',
  what: 'a page sends a form whose body is NFS calls to the NFS port',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(arena.fixtures.names(10)) })
    const answer = await http(target.nfsPort!, {
      method: 'POST',
      path: '/',
      body: Buffer.alloc(4096, '\x80\0\0\x28'),
    }).catch((error) => String(error))
    arena.check('the connection is closed without an answer', typeof answer === 'string', JSON.stringify(answer))
  },
}

export const WEB_PAGES: readonly Attack[] = [crossSite, rebinding, nfsFromPage]
