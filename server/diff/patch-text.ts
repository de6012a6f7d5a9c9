import { createTwoFilesPatch } from 'diff'
import { pathText, shortText } from './diff-text.ts'
import type { DifferenceLine, Side } from './view-differences.ts'

/** A longer patch is of no use to anybody, and takes long to compute. */
const MOST_EDITS = 20_000
/** As git looks for them. */
const LOOKED_AT_BYTES = 8000

/** A unified patch of the text of one file, as patch(1) and `git apply` take it; one line for what is no text. */
export function patchText(line: DifferenceLine): string {
  const { kind, path, from, type, before, after, aspects } = line
  const content = kind === 'added' || kind === 'removed' || aspects.includes('content') || aspects.includes('type')
  if (type !== 'regular' || !content || (before === undefined && after === undefined)) return `# ${shortText(line)}`
  const [old, now] = [textOf(before), textOf(after)]
  if (old === undefined || now === undefined) return `# ${shortText(line).trimEnd()}: binary or large\n`
  const [oldName, newName] = [
    kind === 'added' ? '/dev/null' : `a/${from ?? path}`,
    kind === 'removed' ? '/dev/null' : `b/${path}`,
  ]
  const patch = createTwoFilesPatch(pathText(oldName), pathText(newName), old, now, undefined, undefined, {
    maxEditLength: MOST_EDITS,
    headerOptions: { includeIndex: false, includeUnderline: false, includeFileHeaders: true },
  })
  return patch ?? `# ${shortText(line).trimEnd()}: too many changes\n`
}

/** The text of a file; undefined if it is binary, or was not sent. */
function textOf(side: Side | undefined): string | undefined {
  if (side === undefined || side.size === 0) return ''
  if (side.content === undefined) return undefined
  const bytes = Buffer.from(side.content, 'base64')
  return bytes.subarray(0, LOOKED_AT_BYTES).includes(0) ? undefined : bytes.toString('utf8')
}
