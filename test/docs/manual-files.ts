import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bashCompletion, fishCompletion, zshCompletion } from '../../config/completion-scripts.ts'
import { schemaOf } from '../../config/file/json-schema.ts'
import { FILE_MANUAL } from '../../config/file/manual.ts'
import { TABLES } from '../../config/file/tables.ts'
import { MANUAL, MANUAL_DATE } from '../../config/manual.ts'
import { markdownOf } from '../../config/manual-markdown.ts'
import { troffOf } from '../../config/manual-troff.ts'
import { metricsPage } from './metrics-page.ts'

/** The top of the repository. */
export const top = fileURLToPath(new URL('../..', import.meta.url))

const SOURCES = 'config/schema.ts and config/manual.ts'
const FILE_SOURCES = 'config/file/server-tables.ts, config/file/view-tables.ts and config/file/manual.ts'

/** The generated pages: path from the top, and what has to stand there. */
export function manualFiles(): ReadonlyMap<string, string> {
  const { version } = JSON.parse(readFileSync(`${top}/package.json`, 'utf8')) as { version: string }
  const about = { version, date: MANUAL_DATE }
  const command = { page: 'OVERLAYD 1', volume: 'User Commands', sources: SOURCES, ...about }
  const file = { page: 'OVERLAYD.TOML 5', volume: 'File Formats Manual', sources: FILE_SOURCES, ...about }
  return new Map([
    ['docs/cli.md', markdownOf('overlayd(1)', SOURCES, MANUAL)],
    ['docs/overlayd.1', troffOf(MANUAL, command)],
    ['docs/config.md', markdownOf('overlayd.toml(5)', FILE_SOURCES, FILE_MANUAL)],
    ['docs/overlayd.toml.5', troffOf(FILE_MANUAL, file)],
    ['docs/metrics.md', metricsPage()],
    ['deploy/completion/overlayd.bash', bashCompletion()],
    ['deploy/completion/_overlayd', zshCompletion()],
    ['deploy/completion/overlayd.fish', fishCompletion()],
    ['deploy/overlayd.schema.json', `${JSON.stringify(schemaOf(TABLES), null, 2)}\n`],
  ])
}
