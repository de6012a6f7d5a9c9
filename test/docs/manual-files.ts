import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { MANUAL, MANUAL_DATE } from '../../config/manual.ts'
import { markdownOf } from '../../config/manual-markdown.ts'
import { troffOf } from '../../config/manual-troff.ts'

/** The top of the repository. */
export const top = fileURLToPath(new URL('../..', import.meta.url))

/** The generated pages: path from the top, and what has to stand there. */
export function manualFiles(): ReadonlyMap<string, string> {
  const { version } = JSON.parse(readFileSync(`${top}/package.json`, 'utf8')) as { version: string }
  return new Map([
    ['docs/cli.md', markdownOf(MANUAL)],
    ['docs/overlayd.1', troffOf(MANUAL, { version, date: MANUAL_DATE })],
  ])
}
