import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { request } from 'undici'
import { freePorts, plainly, run, start } from './launch.ts'

t.setTimeout(300_000)

const top = fileURLToPath(new URL('../..', import.meta.url))

/** Runs npm as a person would. */
async function npm(cwd: string, ...args: string[]): Promise<string> {
  const { file, args: all, env } = plainly('npm', ...args)
  const { stdout } = await promisify(execFile)(file, all, { cwd, env, timeout: 240_000 })
  return stdout
}

t.test('the packed package installs elsewhere, runs there, and brings its sample and nothing needless', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-package-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  await npm(top, 'pack', '--pack-destination', dir)
  const [tarball] = readdirSync(dir)
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ private: true, allowScripts: { koffi: true, node: true } }))
  await npm(dir, 'install', `./${tarball}`)
  const installed = join(dir, 'node_modules/overlayd')
  t.same(readdirSync(installed).sort(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'deploy',
    'dist',
    'docs',
    'package.json',
    'server',
  ])
  t.same(
    readdirSync(installed, { recursive: true }).filter((name) => /(?<!\.d)\.ts$/.test(String(name))),
    [],
    'no TypeScript source, which Node would not run there',
  )
  const launcher = join(installed, 'server/overlayd.cjs')
  const { version } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8'))
  t.match(await run(['--version'], { launcher, cwd: dir }), { status: 0, stdout: `overlayd ${version}\n` })
  t.equal(await npm(dir, 'exec', '--', 'overlayd', '--version'), `overlayd ${version}\n`)
  const server = await start(t, ['--sample', ...freePorts(join(dir, 'state'))], { launcher, cwd: dir })
  const answer = await request(new URL('bin/hello', server.webdavUrl))
  t.match(await answer.body.text(), /^#!\/bin\/sh/)
  t.equal(await server.stop(), 0)
})
