import t from 'tap'
import { standOn } from '../helpers/overlay.ts'
import { mountStorage } from '../helpers/storage.ts'

// The same on a storage without attributes, where redirects and origins lie in the workdir and two names change places in three steps. The
// copies are mounted elsewhere: what is kept by name holds for them too.
const storage = await mountStorage('ramfs')
t.teardown(() => storage.unmount())
standOn({ base: storage.dir, xattrs: false })
await import('./files-form-crash.test.ts')
