import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { onDescriptorShortage } from '../../../overlay-core/sys/descriptor-shares.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { newFile } from '../../../overlay-core/sys/new-file.ts'
import { closeSync, openRoot } from '../../../overlay-core/sys/open.ts'

const EMFILE = 24

t.test('a file whose creation finds no free descriptor is created after caches have closed some', async (t) => {
  const dir = t.testdir({ upper: {}, lower: {} })
  mkdirSync(join(dir, 'work'))
  const [upper, lower, work] = await Promise.all(['upper', 'lower', 'work'].map((name) => openRoot(join(dir, name))))
  let missing = 3
  let asked = 0
  const end = onDescriptorShortage(() => {
    asked++
  })
  setFaultPoints({ before: (op) => (op.startsWith('open') && missing-- > 0 ? EMFILE : 0), after: () => undefined })
  t.teardown(() => {
    setFaultPoints(undefined)
    end()
    for (const fd of [upper, lower, work]) closeSync(fd as number)
  })
  const place = { dirFd: upper as number, name: 'plain', absentFrom: [lower as number] }
  closeSync(await newFile(place, 0o644))
  t.equal(asked, 3)
  missing = 2
  const aside = { workFd: work as number, temp: '#1', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  closeSync(await newFile({ ...place, name: 'aside' }, 0o644, aside))
  t.equal(asked, 5)
  t.same(readdirSync(join(dir, 'upper')).sort(), ['aside', 'plain'])
  t.same(readdirSync(join(dir, 'work')), [])
})
