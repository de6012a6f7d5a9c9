import t from 'tap'
import { standOn } from '../helpers/overlay.ts'

// The same tests once more, each beside another overlay on the same stack that has looked at everything: what clients see is the same.
standOn({ stack: true })
await import('./operations/dir.test.ts')
await import('./operations/rename.test.ts')
await import('./operations/restore.test.ts')
await import('./operations/file.test.ts')
await import('./copy-up/copy-up.test.ts')
await import('./objects/permission.test.ts')
await import('./objects/handle.test.ts')
await import('./mount/remount.test.ts')
t.setTimeout(300_000)
