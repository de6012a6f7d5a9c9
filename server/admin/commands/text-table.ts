/** Rows as text with aligned columns, the first row being the heading. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? '')].length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, at) => cell + ' '.repeat((widths[at] ?? 0) - [...cell].length))
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

/** A number of bytes for people, in units of 1024. */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, at] = [Math.abs(bytes), 0]
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024
  const sign = bytes < 0 ? '-' : ''
  return `${sign}${at === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[at]}`
}

/** A text without what could change the terminal. */
export function safe(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}
