/**
 * `npm run bench:login`: what a login costs a request, in processor time of the main thread: with credentials that were verified less than a minute ago, in
 * turn with the same loop without a login; and what it costs to verify them, on the thread that does it.
 */
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { pino } from 'pino'
import type { Journal } from '../../../overlay-core/index.ts'
import {
  Audit,
  Callers,
  HttpLogin,
  Login,
  newHash,
  RoleList,
  TokenStore,
  UserIds,
} from '../../../server/login/index.ts'
import { isPassword } from '../../../server/login/passwords/check-password.ts'

const REQUESTS = 200_000
const ROUNDS = 7
const USERS = 1000
const NOBODY = { uid: 65_534, gid: 65_534, groups: [] }

const log = pino({ level: 'silent' })
const journal: Journal = { takeRecords: () => [], append: async () => undefined, keepShort: () => undefined }
const now = () => Number(process.hrtime.bigint() / 1_000_000n)
const audit = new Audit(log, now)
const login = new Login({
  sources: [
    {
      kind: 'file',
      verify: async (name) => ({ name, groups: [], ids: NOBODY }),
      lookup: async (name) => ({ name, groups: [], ids: NOBODY }),
      onChange: () => undefined,
      close: async () => undefined,
    },
  ],
  ids: new UserIds({
    sources: ['system'],
    nameService: { byName: async () => undefined, groupsOf: async () => undefined },
    journal: undefined,
    log,
  }),
  tokens: new TokenStore({ journal, random: (length) => Buffer.alloc(length), wallNow: now, log }),
  checkPassword: async () => false,
  roles: new RoleList({ admins: [], readers: [] }),
  audit,
  log,
  now,
  wallNow: now,
  key: Buffer.alloc(32, 7),
})
const http = new HttpLogin({
  login,
  callers: new Callers({ nobody: NOBODY, all: undefined }),
  audit,
  realm: 'overlayd',
  clientOf: () => '127.0.0.1',
  isPrivate: () => true,
  userHeader: undefined,
  isFromProxy: () => false,
  userInCertificate: () => undefined,
  takesPasswords: true,
})

const requests = Array.from({ length: USERS }, (_, i) => {
  const request = new IncomingMessage(new Socket())
  request.headers.authorization = `Basic ${Buffer.from(`user${i}:a password of usual length`).toString('base64')}`
  return request
})
for (const request of requests) await http.letIn(request)

/** Microseconds of processor time that `work` takes for each request. */
function cost(work: (request: IncomingMessage) => unknown): number {
  const before = process.threadCpuUsage()
  for (let i = 0; i < REQUESTS; i++) work(requests[i % USERS] as IncomingMessage)
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / REQUESTS
}

const withLogin: number[] = []
const without: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  withLogin.push(
    cost((request) => {
      if (http.letIn(request) !== undefined) throw new Error('not remembered')
      return http.callerOf(request)
    }),
  )
  without.push(cost((request) => request.headers.authorization))
}
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number
const perRequest = median(withLogin) - median(without)
process.stdout.write(`a remembered login: ${perRequest.toFixed(2)} µs a request (bar: 5 µs)\n`)

const bcrypt = '$2y$10$DQrmOcDiQVh7f4.9XM1kveY8jI2nWAXc0lf6hUrsDNSvGmTzOVGOa'
for (const [kind, hash] of [
  ['argon2id, as overlayd user makes it', newHash('right', Buffer.alloc(16))],
  ['bcrypt with a cost of 10', bcrypt],
] as const) {
  const before = process.threadCpuUsage()
  for (let i = 0; i < 10; i++) isPassword(`wrong ${i}`, hash)
  const { user, system } = process.threadCpuUsage(before)
  process.stdout.write(`a check of ${kind}: ${((user + system) / 10_000).toFixed(1)} ms\n`)
}
process.exitCode = perRequest < 5 ? 0 : 1
