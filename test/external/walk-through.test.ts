import { execFile } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { LAUNCHER, plainly, run, start } from '../server/launch.ts'

t.setTimeout(300_000)

const README = fileURLToPath(new URL('../../README.md', import.meta.url))

/** The block of commands below a heading of the README. */
function commandsBelow(heading: string): string {
  const text = readFileSync(README, 'utf8')
  const block = /```sh\n([^`]*)```/.exec(text.slice(text.indexOf(`\n## ${heading}\n`)))
  if (block === null) throw new Error(`there are no commands below ${heading}`)
  return block[1] as string
}

t.test('what the README says to type in, typed in', async (t) => {
  const dir = t.testdir()
  const state = join(dir, 'state')
  t.equal((await run(['init', 'course'], { cwd: dir })).status, 0)
  const config = join(dir, 'course/overlayd.toml')
  writeFileSync(config, readFileSync(config, 'utf8').replaceAll(/:(8080|2049)/g, ':0'))
  const server = await start(t, ['serve', '--config', config, '--state-dir', state], { cwd: dir })
  const { host } = new URL(server.webdavUrl as string)

  // The README runs the package; here it is the checkout, with a state directory of its own.
  mkdirSync(join(dir, 'bin'))
  const npx = `#!/bin/sh\nshift\nexec '${process.execPath}' '${LAUNCHER}' "$@" --state-dir '${state}'\n`
  writeFileSync(join(dir, 'bin/npx'), npx)
  chmodSync(join(dir, 'bin/npx'), 0o755)
  copyFileSync(README, join(dir, 'README.md'))
  const { file, args, env } = plainly('bash', '-euc', commandsBelow('Administer').replaceAll('127.0.0.1:8080', host))
  const path = `${join(dir, 'bin')}:${process.env.PATH}`
  const { stdout } = await promisify(execFile)(file, args, { cwd: dir, env: { ...env, PATH: path }, timeout: 200_000 })
  for (const said of [
    /^webdav +127\.0\.0\.1/m,
    /^A {2}answer\.md$/m,
    /^kept course\/daemon@monday/m,
    /^reset course\/daemon; what was there before is course\/daemon@before-reset-/m,
    /^rolled back to course\/daemon@monday/m,
    /^made course\/bin /m,
    /^made solution@1 /m,
    /^wrote .*daemon\.tar \(oci-archive, /m,
    /^added material@1/m,
    /^applied: views\.course$/m,
    /^added material@2/m,
    /^1 can be put on the new version$/m,
    /^1 on the new version$/m,
    /^corrected$/m,
  ])
    t.match(stdout, said)
  const answer = await fetch(`http://${host}/course/~bin/answer.md`)
  t.equal(await answer.text(), readFileSync(README, 'utf8'), 'the fork has the file of the user')
})
