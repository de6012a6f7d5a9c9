import { standOn } from '../helpers/overlay.ts'

// The tests of the kernel's form once more, with whiteouts as files: what clients see is the same.
standOn({ options: ',whiteouts=files' })
await import('./operations/dir.test.ts')
await import('./operations/rename.test.ts')
await import('./lookup/readdir.test.ts')
await import('./lookup/namei.test.ts')
await import('./copy-up/copy-up.test.ts')
await import('./operations/file.test.ts')
await import('./lookup/hardlink.test.ts')
await import('./operations/restore.test.ts')
