import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loadWriteVerifier } from '../../server/nfs-state.ts'

t.test('the write verifier stays through restarts and changes at a boot and when data was lost', async (t) => {
  const dir = t.testdir({ boot: 'boot-one\n', state: {} })
  const bootFile = join(dir, 'boot')
  let made = 0
  const random = (length: number) => Buffer.alloc(length, ++made)
  const failures: unknown[] = []
  const load = (state = 'state') =>
    loadWriteVerifier(join(dir, state), random, (error) => failures.push(error), bootFile)
  const first = await load()
  t.same(first.bytes, Buffer.alloc(8, 1))
  t.same((await load()).bytes, first.bytes, 'a restart loses nothing')
  const second = await first.renew()
  t.same(second, Buffer.alloc(8, 2))
  t.same((await load()).bytes, second, 'the next run does not go back')
  await writeFile(bootFile, 'boot-two\n')
  t.same((await load()).bytes, Buffer.alloc(8, 3))
  await writeFile(join(dir, 'state/nfs-write-verifier'), 'boot-two 12')
  t.same((await load()).bytes, Buffer.alloc(8, 4), 'a damaged file counts as absent')
  t.same(failures, [])
  t.same(
    (await load('boot')).bytes,
    Buffer.alloc(8, 5),
    'a state directory that cannot be written to is no reason to stop',
  )
  t.equal(failures.length, 1)
})
