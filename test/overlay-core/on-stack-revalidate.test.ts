import { standOn } from '../helpers/overlay.ts'

// Beside another overlay on the same stack that looks at everything all the time.
standOn({ stack: true })
await import('./lookup/revalidate.test.ts')
