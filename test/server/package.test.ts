import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
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

/** The first example of overlay-core's README. */
function example(): string {
  const text = readFileSync(join(top, 'overlay-core/README.md'), 'utf8')
  const found = /```ts\n(import [\s\S]*?)```/.exec(text)?.[1]
  if (found === undefined) throw new Error('no example in the README')
  return found
}

/** Runs the example of the README against the package installed in `dir`, from JavaScript, and checks its types. */
async function tryExample(t: Test, dir: string): Promise<void> {
  for (const name of ['lower', 'upper', 'work']) mkdirSync(join(dir, 'layers', name), { recursive: true })
  writeFileSync(join(dir, 'layers/lower/below'), 'x')
  writeFileSync(join(dir, 'example.mjs'), example())
  const layers = ['lower', 'upper', 'work'].map((name) => join(dir, 'layers', name))
  const { file, args, env } = plainly(process.execPath, join(dir, 'example.mjs'), ...layers)
  const { stdout } = await promisify(execFile)(file, args, { cwd: dir, env })
  t.same(stdout.trim().split('\n').sort(), ['below', 'hello'])
  t.equal(readFileSync(join(dir, 'layers/upper/hello'), 'utf8'), 'hello\n')
  writeFileSync(join(dir, 'example.mts'), example())
  const types = join(top, 'node_modules/@types')
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'esnext', '--types', 'node']
  const tsc = plainly(
    process.execPath,
    join(top, 'node_modules/typescript/bin/tsc'),
    ...options,
    '--typeRoots',
    types,
    'example.mts',
  )
  t.equal((await promisify(execFile)(tsc.file, tsc.args, { cwd: dir, env: tsc.env })).stdout, '', 'and it has types')
}

const ADMIN_EXAMPLE = `import { AdminClient } from 'overlayd/admin'

const client = await AdminClient.to({ socket: process.argv[2] as string })
const seen = await client.run('who', {})
console.log(Array.isArray(seen))
await client.close()
`

/** Asks a server by the client for administrators that the package exports, and checks its types. */
async function tryAdminClient(t: Test, dir: string): Promise<void> {
  const run = join(dir, 'state/run')
  const socket = readdirSync(run).find((name) => name.endsWith('.sock')) as string
  writeFileSync(join(dir, 'admin.mts'), ADMIN_EXAMPLE)
  writeFileSync(join(dir, 'admin.mjs'), ADMIN_EXAMPLE.replace(' as string', ''))
  const { file, args, env } = plainly(process.execPath, join(dir, 'admin.mjs'), join(run, socket))
  t.equal((await promisify(execFile)(file, args, { cwd: dir, env })).stdout, 'true\n')
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'esnext']
  const types = ['--types', 'node', '--typeRoots', join(top, 'node_modules/@types')]
  const tsc = plainly(process.execPath, join(top, 'node_modules/typescript/bin/tsc'), ...options, ...types, 'admin.mts')
  t.equal((await promisify(execFile)(tsc.file, tsc.args, { cwd: dir, env: tsc.env })).stdout, '', 'and it has types')
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
  await tryExample(t, dir)
  const server = await start(t, ['--sample', ...freePorts(join(dir, 'state'))], { launcher, cwd: dir })
  const answer = await request(new URL('bin/hello', server.webdavUrl))
  t.match(await answer.body.text(), /^#!\/bin\/sh/)
  await tryAdminClient(t, dir)
  t.equal(await server.stop(), 0)
})
