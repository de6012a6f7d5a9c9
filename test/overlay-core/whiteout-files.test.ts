import { standOn } from '../helpers/overlay.ts'

// The tests of the kernel's form once more, with whiteouts as files: what clients see is the same.
standOn({ options: ',whiteouts=files' })
await import('./dir.test.ts')
await import('./rename.test.ts')
await import('./readdir.test.ts')
await import('./namei.test.ts')
await import('./copy-up.test.ts')
await import('./file.test.ts')
await import('./hardlink.test.ts')
await import('./restore.test.ts')
