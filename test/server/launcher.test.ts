import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { freePorts, LAUNCHER, run, start } from './launch.ts'

/** A folder that sees nothing of this checkout. */
function outside(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-launcher-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  return dir
}

/** Options that make the Node of the launcher, and only that, say it is version 18: it then has to go over to the pinned one. */
function oldNode(t: Test): { nodeOptions: string[] } {
  const path = join(outside(t), 'old.cjs')
  writeFileSync(path, "Object.defineProperty(process, 'version', { value: 'v18.20.4' })\n")
  return { nodeOptions: ['--require', path] }
}

/** The child processes of `pid`. */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}

t.setTimeout(300_000)

t.test('an old Node goes over to the pinned one and hands its exit status on', async (t) => {
  const old = oldNode(t)
  t.match(await run(['--version'], old), { status: 0, stdout: /^overlayd \d/, stderr: '' })
  t.match(await run(['--nope'], old), { status: 2, stderr: /^overlayd: --nope: unknown option\n$/ })
})

t.test('signals reach the server behind an old Node, which ends as the server does', async (t) => {
  const dir = t.testdir({ lower: {} })
  const args = ['-o', `lowerdir=${dir}/lower`, ...freePorts(join(dir, 'state'))]
  const old = oldNode(t)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const server = await start(t, args, old)
    const [child] = childrenOf(server.child.pid!)
    t.ok(existsSync(`/proc/${child}`))
    t.equal(await server.stop(signal), 0, signal)
    t.notOk(existsSync(`/proc/${child}`), 'the server itself has ended')
    t.same(readdirSync(join(dir, 'state/run')), [])
  }
  const server = await start(t, args, old)
  process.kill(childrenOf(server.child.pid!)[0]!, 'SIGKILL')
  t.equal(await server.stop('SIGCONT'), 'SIGKILL', 'killed like its server')
})

t.test('an old Node without the pinned one says what to do', async (t) => {
  const dir = outside(t)
  mkdirSync(join(dir, 'server'))
  const launcher = join(dir, 'server/overlayd.cjs')
  copyFileSync(LAUNCHER, launcher)
  const { status, stderr } = await run(['--version'], { launcher, ...oldNode(t), cwd: dir })
  t.equal(status, 2)
  t.match(stderr, /^overlayd: needs Node 24\.0 or newer, but this is v18\.20\.4\. [^\n]*npm rebuild [^\n]*\n$/)
})

t.test('a checkout without sources or a build says so', async (t) => {
  const dir = outside(t)
  mkdirSync(join(dir, 'server'))
  const launcher = join(dir, 'server/overlayd.cjs')
  copyFileSync(LAUNCHER, launcher)
  t.match(await run(['--version'], { launcher }), { status: 2, stderr: /main\.js is missing; run npm run build\n$/ })
})

t.test('the pool that waits for disks has sixteen threads unless told otherwise', async (t) => {
  const dir = t.testdir({ lower: {} })
  const server = await start(t, ['-o', `lowerdir=${dir}/lower`, ...freePorts(join(dir, 'state'))])
  const threads = readdirSync(`/proc/${server.child.pid}/task`).map((task) =>
    readFileSync(`/proc/${server.child.pid}/task/${task}/comm`, 'utf8').trim(),
  )
  t.equal(threads.filter((name) => name === 'libuv-worker').length, 16, threads.join(' '))
  t.equal(await server.stop(), 0)
})

t.test(
  'the young generation of the heap and the memory of the pool’s threads stay small, in the process that was started',
  async (t) => {
    const dir = t.testdir({ lower: {} })
    const server = await start(t, ['-o', `lowerdir=${dir}/lower`, ...freePorts(join(dir, 'state'))])
    t.same(readFileSync(`/proc/${server.child.pid}/cmdline`, 'latin1').split('\0').slice(1, 3), [
      '--max-semi-space-size=4',
      '--no-parallel-scavenge',
    ])
    t.ok(readFileSync(`/proc/${server.child.pid}/environ`, 'latin1').split('\0').includes('MALLOC_ARENA_MAX=2'))
    t.same(childrenOf(server.child.pid!), [])
    t.equal(await server.stop(), 0)
    const own = await start(t, ['-o', `lowerdir=${dir}/lower`, ...freePorts(join(dir, 'state'))], {
      nodeOptions: ['--max-semi-space-size=32'],
    })
    t.match(
      readFileSync(`/proc/${own.child.pid}/cmdline`, 'latin1').split('\0')[1],
      '--max-semi-space-size=32',
      'unless given',
    )
    t.equal(await own.stop(), 0)
  },
)
