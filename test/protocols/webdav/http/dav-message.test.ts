import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import {
  type BodyTaker,
  type DavRequest,
  type DavResponse,
  HTTP_MESSAGES,
  takeBody,
  whenWhole,
} from '../../../../protocols/webdav/http/dav-message.ts'

const DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'

/** A server with the messages of WebDAV, and a connection to it. `received` is what the client has got so far. */
async function serve(t: Test, listener: RequestListener) {
  const server = createServer(HTTP_MESSAGES, listener as never)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const got = { text: '' }
  socket.on('data', (data) => {
    got.text += data.toString('latin1')
  })
  await once(socket, 'connect')
  return { socket, got, until: (part: string) => until(socket, () => got.text.includes(part)) }
}

async function until(socket: Socket, holds: () => boolean): Promise<void> {
  while (!holds()) await once(socket, 'data')
}

/** Collects a body. */
function collect(req: IncomingMessage): { body: string; outcome: Promise<'end' | 'gone'>; stop: () => void } {
  const { promise: outcome, resolve } = Promise.withResolvers<'end' | 'gone'>()
  const taker: BodyTaker = {
    piece: (bytes) => {
      found.body += bytes.toString('latin1')
    },
    end: () => resolve('end'),
    gone: () => resolve('gone'),
  }
  const found = { body: '', outcome, stop: (): void => undefined }
  found.stop = takeBody(req, taker)
  return found
}

const put = (body: string, length = body.length) =>
  `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${body}`

t.test('a body is passed piece by piece, and the connection goes on with the next request', async (t) => {
  const bodies: string[] = []
  const { socket, until } = await serve(t, async (req, res) => {
    const found = collect(req)
    t.equal(await found.outcome, 'end')
    t.equal(req.complete, true)
    bodies.push(found.body)
    t.equal((res as DavResponse).answer(200, ['Content-Length', '2'], DATE, `r${bodies.length}`), true)
  })
  socket.write(put('', 6))
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.write('abc')
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.write(`def${put('second')}`)
  await until('r2')
  t.same(bodies, ['abcdef', 'second'])
})

t.test('what has been received before somebody takes the body is not lost', async (t) => {
  const { socket, until } = await serve(t, (req, res) => {
    setTimeout(async () => {
      const found = collect(req)
      t.equal(await found.outcome, 'end')
      res.end(`got ${found.body}`)
    }, 20)
  })
  socket.write(put('early'))
  await until('got early')
})

t.test('the taker is told if the connection closes within the body', async (t) => {
  const told = Promise.withResolvers<string>()
  const { socket } = await serve(t, (req) => {
    req.on('error', () => undefined)
    void collect(req).outcome.then(told.resolve)
  })
  socket.write(put('part', 100))
  await new Promise((resolve) => setTimeout(resolve, 20))
  socket.destroy()
  t.equal(await told.promise, 'gone')
})

t.test('after an early end, the rest of the body can be read like any stream', async (t) => {
  const { socket, until } = await serve(t, async (req, res) => {
    const found = collect(req)
    await new Promise((resolve) => setTimeout(resolve, 20))
    found.stop()
    let rest = ''
    for await (const piece of req) rest += piece
    res.end(`${found.body}|${rest}`)
  })
  socket.write(put('first', 9))
  await new Promise((resolve) => setTimeout(resolve, 40))
  socket.write('last')
  await until('first|last')
})

t.test('a response is sent whole, and its events come as for any other', async (t) => {
  const events: string[] = []
  const { socket, got, until } = await serve(t, (_req, response) => {
    const res = response as DavResponse
    res.on('finish', () => events.push(`finish ${res.writableFinished}`)).on('close', () => events.push('close'))
    t.equal(res.headersSent, false)
    t.equal(res.answer(207, ['Content-Type', 'text/xml', 'Content-Length', '3'], DATE, 'x\xe9y'), true)
    t.equal(res.headersSent, true)
    t.equal(res.writableEnded, true)
    t.equal(res.writableFinished, false)
    t.equal(res.statusCode, 207)
    t.equal(res.answer(200, [], DATE, ''), false, 'only once')
    t.doesNotThrow(() => res.end())
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('x\xe9y')
  t.equal(
    got.text,
    `HTTP/1.1 207 Multi-Status\r\nContent-Type: text/xml\r\nContent-Length: 3\r\nDate: ${DATE}\r\n` +
      'Connection: keep-alive\r\nKeep-Alive: timeout=75\r\n\r\nx\xe9y',
  )
  t.same(events, ['finish true', 'close'])
  got.text = ''
  socket.write('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('\r\n\r\n')
  t.notMatch(got.text, 'x\xe9y')
  t.match(got.text, 'Content-Length: 3\r\n')
})

t.test('bytes in memory are sent with the header in front of them', async (t) => {
  const { socket, got, until } = await serve(t, (_req, response) => {
    const res = response as DavResponse
    const bytes = Buffer.alloc(1003, 'b')
    t.equal(res.answerBytes(206, ['Content-Length', '3'], DATE, bytes.subarray(0, 13), 10), false, 'no room')
    t.equal(res.headersSent, false)
    t.equal(res.answerBytes(206, ['Content-Length', '3'], DATE, bytes, 1000), true)
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('bbb')
  t.match(got.text, /^HTTP\/1\.1 206 Partial Content\r\nContent-Length: 3\r\n.*\r\n\r\nbbb$/s)
})

t.test('what a single write cannot do is left to Node', async (t) => {
  const answers: boolean[] = []
  const answer = (_req: IncomingMessage, res: ServerResponse) => {
    const sent = (res as DavResponse).answer(200, ['Content-Length', '1'], DATE, 'a')
    answers.push(sent)
    if (!sent) res.end('n')
  }
  const { socket, until } = await serve(t, answer)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await until('n')
  t.same(answers, [false])
  await once(socket, 'close')
})

t.test('a response that waits for an earlier one is not sent before it', async (t) => {
  let first: ServerResponse | undefined
  const { socket, got, until } = await serve(t, (_req, res) => {
    if (first === undefined) first = res
    else {
      t.equal((res as DavResponse).answer(200, ['Content-Length', '6'], DATE, 'second'), false)
      res.end('second')
      first.end('first')
    }
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2))
  await until('second')
  t.match(got.text, /first.*second$/s)
})

t.test('a field with a line break is an error, not two fields', async (t) => {
  const { socket, until } = await serve(t, (_req, response) => {
    const res = response as DavResponse
    t.throws(() => res.answer(200, ['ETag', '"a"\r\nSet-Cookie: b'], DATE, ''), TypeError)
    t.equal(res.headersSent, false)
    res.end('ok')
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('ok')
})

t.test('a body that arrives with the header is there when the handler begins', async (t) => {
  const seen: (string | undefined)[] = []
  const { socket, until } = await serve(t, (req, res) => {
    whenWhole(req, () => {
      t.equal(req.complete, true)
      // The first one is not read, which must not disturb the next.
      seen.push(seen.length === 0 ? 'unread' : (req as DavRequest).takeWhole()?.toString())
      ;(res as DavResponse).answer(200, ['Content-Length', '2'], DATE, `r${seen.length}`)
    })
  })
  socket.write(put('first'))
  await until('r1')
  socket.write(put('second'))
  await until('r2')
  t.same(seen, ['unread', 'second'])
})

t.test('a handler does not wait for a body that arrives later, and gets all of it', async (t) => {
  const { socket, until } = await serve(t, (req, res) => {
    whenWhole(req, async () => {
      t.equal(req.complete, false)
      const found = collect(req)
      t.equal(await found.outcome, 'end')
      res.end(`got ${found.body}`)
    })
  })
  socket.write(put('early ', 10))
  await new Promise((resolve) => setTimeout(resolve, 30))
  socket.write('late')
  await until('got early late')
})

t.test('a body that was waited for can be taken like any other', async (t) => {
  const { socket, until } = await serve(t, (req, res) => {
    whenWhole(req, async () => {
      const found = collect(req)
      t.equal(await found.outcome, 'end')
      res.end(`got ${found.body}`)
    })
  })
  socket.write(put('at once'))
  await until('got at once')
})

t.test('large bodies, bodies that the client holds back and none are not waited for', async (t) => {
  const begun: string[] = []
  const { socket, until } = await serve(t, (req, res) => {
    let now = true
    whenWhole(req, () => begun.push(`${req.method} ${now}`))
    now = false
    req.resume().on('end', () => res.end(`end ${begun.length};`))
  })
  socket.write(put('x'.repeat(17 * 1024)))
  await until('end 1;')
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('end 2;')
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx')
  await until('end 3;')
  t.same(begun, ['PUT true', 'GET true', 'POST true'])
})
