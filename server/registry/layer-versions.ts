/** A version for each of some layers. */
export type LayerVersions = Readonly<Record<string, string>>

/** Decodes what `JSON.stringify` made of versions; undefined if it is none. */
export function versionsIn(value: unknown): LayerVersions | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const found = Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return found.length > 0 ? Object.fromEntries(found) : undefined
}
