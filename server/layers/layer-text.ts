import type { Committed } from './commit.ts'
import type { Exported } from './export.ts'
import type { LayerDescription, Removed } from './layer-requests.ts'

/** Versions as a table for people. */
export function tableText(versions: readonly LayerDescription[]): string {
  if (versions.length === 0) return 'there are no layers yet; add one with overlayd layer add NAME --from DIR\n'
  const rows = [
    ['LAYER', 'ADDED', 'SIZE', 'OBJECTS', 'USED BY', 'DIGEST'],
    ...versions.map(({ layer, version, created, bytes, objects, usedBy, digest }) => [
      `${layer}@${version}`,
      created.slice(0, 19).replace('T', ' '),
      sizeText(bytes),
      String(objects),
      usersText(usedBy),
      digest.slice(0, 19),
    ]),
  ]
  const widths = (rows[0] as string[]).map((_, column) =>
    Math.max(...rows.map((row) => [...(row[column] ?? '')].length)),
  )
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] as number))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** Everything about versions, for people. */
export function detailText(versions: readonly LayerDescription[]): string {
  return versions
    .map(({ layer, version, digest, created, from, on, bytes, objects, path, usedBy }) =>
      [
        `${layer}@${version}`,
        `  digest   ${digest}`,
        `  added    ${created.slice(0, 19).replace('T', ' ')} UTC`,
        `  from     ${from}${on === undefined ? '' : ` on ${layer}@${on}`}`,
        `  content  ${sizeText(bytes)} in ${objects} objects`,
        `  path     ${path}`,
        `  used by  ${usedBy.length === 0 ? 'nobody' : usedBy.join(', ')}`,
        '',
      ].join('\n'),
    )
    .join('\n')
}

/** What adding did, and what to do next. */
export function addedText({ layer, version, serial, objects, bytes, digest }: LayerDescription): string {
  const next =
    serial === 1
      ? `name it in a stack as "layer:${layer}"`
      : `new views of templates with "layer:${layer}" lie on it; the others stay on their versions`
  return `added ${layer}@${version}: ${objects} objects, ${sizeText(bytes)}, ${digest}\n${next}\n`
}

export function removedText({ layer, version }: LayerDescription): string {
  return `removed ${layer}@${version}; free its space with overlayd layer gc\n`
}

export function collectedText({ digests, leftovers }: Removed, dryRun: boolean): string {
  const what = `${digests.length} contents without a version and ${leftovers} leftovers`
  return dryRun ? `would delete ${what}\n` : `deleted ${what}\n`
}

export function committedText({ version, on, changes }: Committed, to: string): string {
  if (version === undefined) {
    const lines = changes.map(({ path, removed }) => `${removed ? 'D' : 'A'} ${path}\n`)
    return `${lines.join('')}would make a version of ${to} with these paths${on === undefined ? '' : ` on ${on}`}\n`
  }
  const how = on === undefined ? 'with the changes alone' : `with the content of ${on} and the changes`
  return `made ${version.layer}@${version.version} ${how} (${version.digest})\n`
}

export function exportedText({ to, format, digest, bytes }: Exported): string {
  return `wrote ${to} (${format}, ${sizeText(bytes)}, ${digest})\n`
}

function usersText(users: readonly string[]): string {
  const [first = '-', ...others] = users
  return others.length === 0 ? first : `${first} and ${others.length} more`
}

function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1]
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
