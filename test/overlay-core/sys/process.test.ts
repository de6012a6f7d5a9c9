import { execFileSync } from 'node:child_process'
import t from 'tap'
import { mkdirAt } from '../../../overlay-core/sys/dir.ts'
import {
  effectiveGid,
  effectiveGroups,
  effectiveUid,
  raiseFileLimit,
  setUmask0,
} from '../../../overlay-core/sys/process.ts'
import { statxAt } from '../../../overlay-core/sys/stat.ts'
import { scratchDir } from './scratch-dir.ts'

t.test('the process reports its user and groups', async (t) => {
  t.equal(`${effectiveUid()}`, execFileSync('id', ['-u'], { encoding: 'utf8' }).trim())
  t.equal(`${effectiveGid()}`, execFileSync('id', ['-g'], { encoding: 'utf8' }).trim())
  const groups = execFileSync('id', ['-G'], { encoding: 'utf8' }).trim().split(' ').map(Number)
  t.same(new Set([effectiveGid(), ...effectiveGroups()]), new Set(groups))
})

t.test('the descriptor limit is raised to the hard one', async (t) => {
  const limit = raiseFileLimit()
  t.ok(limit >= 256)
  t.equal(raiseFileLimit(), limit)
})

t.test('without a umask, a mode is stored as given', async (t) => {
  const before = process.umask()
  t.teardown(() => process.umask(before))
  const { fd } = await scratchDir(t)
  process.umask(0o077)
  setUmask0()
  await mkdirAt(fd, 'open', 0o1777)
  t.equal((await statxAt(fd, 'open')).mode, 0o1777)
})
