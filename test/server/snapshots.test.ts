import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('snapshots, rollbacks and forks under clients of both doors', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t, { more: 'create = true\nowner = "1:1"' })
  const overlayd = (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.create(root, 'f')).handle!
  t.equal((await daemon.write(file, 0, Buffer.from('first'), 0)).status, STATUS.OK, 'unstable')
  t.match(await overlayd('snapshots', 'course/daemon'), { status: 0, stdout: 'there are no snapshots yet\n' })
  t.match(await overlayd('snapshot', 'course/daemon', 'one'), {
    status: 0,
    stdout: /^kept course\/daemon@one; return to it with/,
  })
  t.equal((await daemon.read(file, 0, 100)).data?.toString(), 'first', 'the handle stays valid')
  t.equal((await daemon.commit(file)).status, STATUS.OK)
  t.equal((await daemon.write(file, 0, Buffer.from('second'), 2)).status, STATUS.OK)
  t.equal((await dav('GET', '/course/~daemon/f')).body, 'second')
  t.match(await overlayd('snapshots', 'course/daemon'), {
    stdout: /^SNAPSHOT +TAKEN\ncourse\/daemon@one +20\S+ \S+\n$/,
  })

  t.match(await overlayd('fork', 'course/daemon', 'bin'), {
    status: 0,
    stdout: /^made course\/bin \(\S+\/views\/[0-9a-f]{16}\)\n$/,
  })
  t.equal((await dav('GET', '/course/~bin/f')).body, 'second')
  t.equal((await dav('PUT', '/course/~bin/f', { body: 'of bin' })).status, 204)
  t.equal((await daemon.read(file, 0, 100)).data?.toString(), 'second', 'the view does not see changes of the fork')

  t.match(await overlayd('rollback', 'course/daemon@one'), {
    status: 2,
    stderr: /asks before it changes anything; add --yes/,
  })
  t.equal((await daemon.read(file, 0, 100)).data?.toString(), 'second')
  const back = await overlayd('rollback', 'course/daemon@one', '--yes', '--json')
  t.equal(back.status, 0)
  const { aside } = JSON.parse(back.stdout)
  t.match(aside, /^course\/daemon@before-rollback-/)
  t.equal((await daemon.read(file, 0, 100)).data?.toString(), 'first', 'clients see it at once')
  t.equal((await dav('GET', '/course/~daemon/f')).body, 'first')
  t.equal((await dav('GET', '/course/~bin/f')).body, 'of bin')
  t.match(await overlayd('snapshot', 'remove', aside, '--yes'), {
    status: 0,
    stdout: /^removed course\/daemon@before-rollback-\S+; \d+ layers were deleted\n$/,
  })
  t.match(await overlayd('snapshot', 'remove', 'course/daemon@one', '--yes'), {
    stdout: /still in use, so this frees nothing yet/,
  })

  t.match(await overlayd('snapshot'), {
    status: 2,
    stderr: /needs a view; say overlayd snapshot TEMPLATE\/NAME \[SNAPSHOT\]/,
  })
  t.match(await overlayd('fork', 'course/daemon'), { status: 2, stderr: /needs the name of the new view/ })
  t.match(await overlayd('snapshots', 'course/daemon', '--drop'), { status: 2, stderr: /--drop: goes with rollback/ })
  t.match(await overlayd('snapshot', 'course/nobody'), { status: 2, stderr: /there is no view course\/nobody/ })
  t.match(await run(['snapshots', 'course/daemon', '--state-dir', join(dir, 'none')]), { status: 1 })
})

t.test(
  'what a view had at a snapshot survives a restart of the server, and a quota begins at the last one',
  AS_ROOT,
  async (t) => {
    const more = 'create = true\nowner = "1:1"\nquota = "1M"'
    const first = await course(t, { more })
    const overlayd = (dir: string, ...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
    const { dir } = first
    const big = 'x'.repeat(700_000)
    t.equal((await first.dav('PUT', '/course/~daemon/big', { body: big })).status, 201)
    t.equal((await first.dav('PUT', '/course/~daemon/more', { body: big })).status, 507)
    t.equal((await overlayd(dir, 'snapshot', 'course/daemon', 'one')).status, 0)
    let status = 0
    for (let i = 0; i < 50 && status !== 201; i++) {
      status = (await first.dav('PUT', '/course/~daemon/more', { body: big })).status
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    t.equal(status, 201, 'the frozen layer does not count')
    first.server.child.kill('SIGKILL')
    await new Promise((resolve) => first.server.child.once('close', resolve))
    const second = await course(t, { more, dir })
    t.equal((await second.dav('GET', '/course/~daemon/big')).body.length, big.length)
    t.match(await overlayd(dir, 'snapshots', 'course/daemon'), { stdout: /course\/daemon@one/ })
    t.equal((await overlayd(dir, 'rollback', 'course/daemon@one', '--yes')).status, 0)
    t.equal((await second.dav('GET', '/course/~daemon/more')).status, 404)
    t.equal((await second.dav('GET', '/course/~daemon/big')).status, 200)
  },
)
