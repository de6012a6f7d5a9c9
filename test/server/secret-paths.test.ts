import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Settings } from '../../config/index.ts'
import { parseOptions } from '../../overlay-core/index.ts'
import { refuseSecretsInLayers } from '../../server/secret-paths.ts'
import { NfsClient } from '../helpers/nfs-client.ts'
import { freePorts, run, start } from './launch.ts'

const isRoot = process.geteuid?.() === 0

/** A folder that only its owner enters, with empty directories in it. */
function directories(t: Test, ...names: string[]): (path: string) => string {
  const top = mkdtempSync(join(tmpdir(), 'overlayd-secrets-'))
  t.teardown(() => rmSync(top, { recursive: true }))
  const at = (path: string) => join(top, path)
  for (const name of names) mkdirSync(at(name), { recursive: true })
  return at
}

function bind(t: Test, from: string, to: string): void {
  execFileSync('mount', ['--bind', from, to])
  t.teardown(() => execFileSync('umount', [to]))
}

t.test('a state directory inside a layer, or a layer inside it, is refused and nothing is made', async (t) => {
  const at = directories(t, 'lower/sub', 'upper', 'work', 'other', 'state/handles/x', 'data')
  symlinkSync(at('lower/sub'), at('link'))
  const whole = `lowerdir=${at('other')},upperdir=${at('upper')},workdir=${at('work')}`
  const cases: [o: string, state: string, says: RegExp][] = [
    [`lowerdir=${at('lower')}`, at('lower'), /is inside the lowerdir/],
    [`lowerdir=${at('lower')}`, at('lower/sub/not/there'), /is inside the lowerdir/],
    [`lowerdir=${at('lower')}`, at('link/state'), /is inside the lowerdir/],
    [`lowerdir=${at('link')}`, at('lower/sub/state'), /is inside the lowerdir/],
    [`lowerdir=${at('other')},datadir+=${at('data')}`, at('data/state'), /is inside the datadir/],
    [whole, at('upper/state'), /is inside the upperdir/],
    [whole, at('work/state'), /is inside the workdir/],
    [`lowerdir=${at('state/handles')}`, at('state'), /contains the lowerdir/],
    [`lowerdir=${at('state')}/handles/../handles/x`, at('state'), /contains the lowerdir/],
  ]
  if (isRoot) {
    for (const name of ['seen-lower', 'seen-state', 'seen-sub']) mkdirSync(at(name))
    bind(t, at('lower'), at('seen-lower'))
    bind(t, at('lower/sub'), at('seen-sub'))
    cases.push(
      [`lowerdir=${at('seen-lower')}`, at('lower/sub/state'), /is inside the lowerdir/],
      [`lowerdir=${at('lower')}`, at('seen-sub/state'), /is inside the lowerdir/],
      [`lowerdir=${at('seen-lower')}`, at('seen-sub'), /is inside the lowerdir/],
    )
  }
  for (const [o, stateDir, says] of cases) {
    const refused = refuseSecretsInLayers({ stateDir } as Settings, [parseOptions(o)])
    await t.rejects(refused, { option: '--state-dir', message: says }, `${o} with ${stateDir}`)
    await t.rejects(refused, { message: /choose a directory outside all layers$/ })
  }
  const apart = { stateDir: at('apart') } as Settings
  await refuseSecretsInLayers(apart, [parseOptions(whole), parseOptions(`lowerdir=${at('apart/sample/upper')}`)])
  const { status, stderr } = await run(['-o', cases[0]![0], ...freePorts(cases[0]![1])])
  t.match({ status, stderr }, { status: 2, stderr: /^overlayd: --state-dir: .*; choose a directory outside/ })
  t.same(execFileSync('find', [at('lower'), at('upper'), at('work'), at('data'), '-type', 'f']).toString(), '')
})

t.test('a remount to layers that hold the state directory is refused', async (t) => {
  const at = directories(t, 'lower', 'parent/state', 'seen')
  const server = await start(t, ['-o', `lowerdir=${at('lower')}`, ...freePorts(at('parent/state'))])
  const remount = (o: string) => run(['remount', '-o', o, '--state-dir', at('parent/state')])
  t.match(await remount(`lowerdir=${at('parent')}`), { status: 2, stderr: /-o lowerdir: .*is inside the lowerdir/ })
  if (isRoot) {
    bind(t, at('parent'), at('seen'))
    t.match(await remount(`lowerdir+=${at('seen')}`), { status: 2, stderr: /is inside the lowerdir/ })
  }
  t.equal(await server.stop(), 0)
})

t.test(
  'an upper that a bind mount shows inside of a lower is refused',
  { skip: !isRoot && 'needs root' },
  async (t) => {
    const at = directories(t, 'top/upper', 'work', 'lower', 'seen', 'seen-lower')
    bind(t, at('top/upper'), at('seen'))
    bind(t, at('top'), at('seen-lower'))
    for (const lower of [at('top'), at('seen-lower')]) {
      const args = ['-o', `lowerdir=${lower},upperdir=${at('seen')},workdir=${at('work')}`, ...freePorts(at('state'))]
      t.match(await run(args), {
        status: 2,
        stderr: /^overlayd: -o upperdir: a bind mount makes .*; use separate directories/,
      })
    }
  },
)

t.test('directories that others can enter are warned of, with the mend; closed ones are not', async (t) => {
  const at = directories(t, 'pub/lower', 'pub/upper', 'pub/work', 'pub/state')
  chmodSync(at(''), 0o711)
  const args = [
    ...['-o', `lowerdir=${at('pub/lower')},upperdir=${at('pub/upper')},workdir=${at('pub/work')}`],
    ...freePorts(at('pub/state')),
  ]
  const open = await start(t, args)
  for (const what of ['upperdir', 'lowerdir', '--state-dir']) {
    const line = new RegExp(
      `^Warning: other users of this machine can enter ${what} \\S+; run chmod o-x ${at('pub')}\\.$`,
      'm',
    )
    t.match(open.stdout(), line)
  }
  t.equal(await open.stop(), 0)
  t.match(open.stderr(), /"level":40.*other users of this machine can enter upperdir /)
  chmodSync(at('pub'), 0o750)
  const closed = await start(t, args)
  t.notMatch(closed.stdout() + closed.stderr(), /other users of this machine/)
  t.equal(await closed.stop(), 0)
})

t.test(
  'run by root, the default export is for ports that only root sends from',
  { skip: !isRoot && 'needs root' },
  async (t) => {
    const at = directories(t, 'lower')
    const server = await start(t, ['-o', `lowerdir=${at('lower')}`, ...freePorts(at('state'))])
    const user = await NfsClient.connect(server.nfsPort as number)
    const root = await NfsClient.connect(server.nfsPort as number, undefined, 1011)
    t.equal((await user.mnt('/overlay')).status, 13)
    t.equal((await root.mnt('/overlay')).status, 0)
    await user.close()
    await root.close()
    t.equal(await server.stop(), 0)
  },
)
