// npm run docs: writes the manual pages and the JSON schema anew from the tables in config/.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manualFiles, top } from './manual-files.ts'

for (const [path, text] of manualFiles()) {
  writeFileSync(join(top, path), text)
  console.log(path)
}
