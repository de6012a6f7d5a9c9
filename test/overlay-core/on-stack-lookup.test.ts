import t from 'tap'
import { standOn } from '../helpers/overlay.ts'

// Like on-stack.test.ts, for what is known of the lowers.
standOn({ stack: true })
await import('./lookup/readdir.test.ts')
await import('./lookup/namei.test.ts')
await import('./lookup/hardlink.test.ts')
await import('./lookup/malformed-marks.test.ts')
await import('./rules/redirects.test.ts')
await import('./rules/identity.test.ts')
await import('./metacopy.test.ts')
t.setTimeout(300_000)
