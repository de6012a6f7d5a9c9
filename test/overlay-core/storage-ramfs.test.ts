import t from 'tap'
import { standOn } from '../helpers/overlay.ts'
import { mountStorage } from '../helpers/storage.ts'

// Neither extended attributes nor RENAME_WHITEOUT: clients see the same, and the marks lie in the workdir.
const storage = await mountStorage('ramfs')
t.teardown(() => storage.unmount())
standOn({ base: storage.dir, xattrs: false })
await import('./operations/dir.test.ts')
await import('./operations/rename.test.ts')
await import('./lookup/readdir.test.ts')
await import('./lookup/namei.test.ts')
await import('./copy-up/copy-up.test.ts')
await import('./operations/file.test.ts')
await import('./operations/restore.test.ts')
