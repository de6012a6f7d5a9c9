import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isErrno } from '../../overlay-core/index.ts'
import { setThreadFault, threadsReady } from '../../overlay-core/sys/call.ts'
import { Fault } from '../../overlay-core/sys/thread-layout.ts'
import { startThreads } from '../crash/threads.ts'
import { ROOT, withOverlay } from '../helpers/overlay.ts'

const POINTS = 8

// That threads end is warned of; here it is meant.
process.removeAllListeners('warning')
process.on('warning', () => undefined)

t.test('when a thread dies while creating a file, clients see what is on the disk', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper }) => {
    let unknown = 0
    for (let point = 1; point <= POINTS; point++) {
      const name = `file-${point}`
      await overlay.lookup(ROOT, overlay.root, name)
      await startThreads()
      setThreadFault(point, Fault.endThread)
      try {
        await overlay.create(ROOT, overlay.root, name, { mode: 0o644 })
      } catch (error) {
        if (!isErrno(error, 'EIO')) throw error
        unknown++
      }
      setThreadFault(0, 0)
      const seen = await overlay.lookup(ROOT, overlay.root, name)
      t.equal(seen !== undefined, existsSync(join(upper, name)), `point ${point}`)
    }
    t.ok(unknown < POINTS, 'between calls nobody notices')
    t.ok(threadsReady() > 0)
  })
})
