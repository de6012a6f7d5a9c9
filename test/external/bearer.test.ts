import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startProvider } from '../helpers/openid-provider.ts'
import { course } from '../server/course.ts'
import { makeScratch } from './helpers/scratch.ts'
import { quote, ShellError } from './helpers/shell.ts'

// rclone with the tokens of a real provider, given as they are and by a command.

t.setTimeout(300_000)
const scratch = makeScratch(t)
const provider = await startProvider(t)
const { server, dav } = await course(t, {
  tables: `
[login]
sources = ["oidc"]
ids = ["100000-199999"]
[oidc]
issuer = "${provider.issuer}"
audiences = ["overlayd"]
clock_skew = 1
`,
})
const url = server.webdavUrl as string

/** Runs rclone with the options of a remote, which is `:webdav:`. */
const rclone = (words: string, options: string) =>
  scratch.sh(
    `HOME=${scratch.path} rclone --config ${scratch.path}/none -q --retries 1 --low-level-retries 1 --webdav-url ${quote(url)} --webdav-vendor owncloud ${options} ${words}`,
  )

const bearer = (token: string) => `--webdav-bearer-token ${quote(token)}`

t.test('rclone lists, copies and checks with a token', async (t) => {
  await scratch.sh(
    'mkdir -p tree/sub && seq 20000 > tree/numbers && echo deep > "tree/sub/with a blank" && : > tree/empty',
  )
  const alice = bearer(await provider.sign())
  t.equal(await rclone('lsf -R :webdav: | sort', alice), 'sub/\nsub/a.txt\nwelcome.txt\n')
  await rclone('copy tree :webdav:copied', alice)
  await rclone('check tree :webdav:copied', alice)
  await rclone('copy :webdav:copied back', alice)
  await scratch.sh('diff -r tree back')
  const bob = bearer(await provider.sign({ preferred_username: 'bob' }))
  t.equal(await rclone('lsf :webdav:', bob), 'sub/\nwelcome.txt\n', 'another user has another view')
})

t.test('rclone asks a command for its token', async (t) => {
  const now = Math.floor(Date.now() / 1000)
  writeFileSync(join(scratch.path, 'token'), await provider.sign({ exp: now - 60 }))
  const command = `--webdav-bearer-token-command ${quote(`cat ${scratch.path}/token`)}`
  const error = await rclone('lsf :webdav:', command).catch((error: unknown) => error)
  t.ok(error instanceof ShellError && /401/.test(error.output), String(error))
  writeFileSync(join(scratch.path, 'token'), await provider.sign())
  t.match(await rclone('lsf :webdav:', command), 'copied/\n')
})

t.test('an expired token and one of nobody get 401', async (t) => {
  const now = Math.floor(Date.now() / 1000)
  for (const token of [await provider.sign({ exp: now - 60, iat: now - 120 }), 'not-a-token']) {
    const error = await rclone('lsf :webdav:', bearer(token)).catch((error: unknown) => error)
    t.ok(error instanceof ShellError && /401/.test(error.output), String(error))
    const answer = await dav('PROPFIND', '/course/', { headers: { authorization: `Bearer ${token}` } })
    t.match(answer, { status: 401, headers: { 'www-authenticate': /Bearer/ } })
  }
})
