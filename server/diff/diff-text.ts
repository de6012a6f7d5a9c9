import type { DifferenceLine } from './view-differences.ts'

const LETTERS = { added: 'A', removed: 'D', renamed: 'R', changed: 'M', same: '=' } as const

/** A path for people: quoted if it contains control characters, quotes or backslashes; a directory ends with a slash. */
export function pathText(path: string, type: DifferenceLine['type'] = 'regular'): string {
  const whole = `${path === '' ? '.' : path}${type === 'directory' ? '/' : ''}`
  return /[\p{Cc}"\\]/u.test(whole) ? JSON.stringify(whole) : whole
}

/** One line for each difference: a letter, the path, and what differs. */
export function shortText(line: DifferenceLine): string {
  const { kind, path, from, type } = line
  const where = from === undefined ? pathText(path, type) : `${pathText(from, type)} → ${pathText(path, type)}`
  const details = detailsOf(line)
  return `${LETTERS[kind]}  ${where}${details === '' ? '' : `  (${details})`}\n`
}

function detailsOf({ aspects, before, after }: DifferenceLine): string {
  return aspects
    .map((aspect) => {
      if (aspect === 'mode' && before && after) return `mode ${octal(before.mode)} → ${octal(after.mode)}`
      if (aspect === 'owner' && before && after) return `owner ${before.uid}:${before.gid} → ${after.uid}:${after.gid}`
      return aspect
    })
    .join(', ')
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}

/** How much each file has grown or shrunk, and a sum. */
export function statText(lines: readonly DifferenceLine[]): string {
  const files = lines.filter(({ type }) => type !== 'directory')
  const rows = files.map(({ path, before, after }) => [pathText(path), sizes(before?.size, after?.size)] as const)
  const width = Math.max(0, ...rows.map(([path]) => [...path].length))
  const count = (kind: DifferenceLine['kind']) => lines.filter((line) => line.kind === kind).length
  const counted = (['added', 'changed', 'renamed', 'removed', 'same'] as const)
    .map((kind) => [count(kind), kind] as const)
    .filter(([number]) => number > 0)
    .map(([number, kind]) => `${number} ${kind}`)
  const bytes = files.reduce((sum, { kind, after }) => sum + (kind === 'same' ? 0 : (after?.size ?? 0)), 0)
  const sum =
    counted.length === 0 ? 'no differences' : `${counted.join(', ')}; ${sizeText(bytes)} in the files that are there`
  return `${rows.map(([path, text]) => `${path.padEnd(width)}  ${text}\n`).join('')}${sum}\n`
}

function sizes(before: number | undefined, after: number | undefined): string {
  if (before === undefined) return `+ ${sizeText(after ?? 0)}`
  if (after === undefined) return `- ${sizeText(before)}`
  return before === after ? sizeText(after) : `${sizeText(before)} → ${sizeText(after)}`
}

function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, at] = [bytes, 0]
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024
  return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`
}
