import type { Finding } from '../../overlay-core/index.ts'

/** What a check found, with the path in full. */
export interface Problem {
  readonly code: string
  readonly severity: 'error' | 'warning'
  readonly path: string
  readonly what: string
  readonly repair: string | undefined
  readonly fix: (() => Promise<void>) | undefined
}

/** A finding in the upper or workdir at these paths. */
export function problemOf(
  { code, severity, where, path, what, repair, fix }: Finding,
  places: { readonly upper: string; readonly workdir: string | undefined },
): Problem {
  const inside = Buffer.from(path.join('/'), 'latin1').toString('utf8')
  const base = where === 'upper' ? places.upper : places.workdir
  return { code, severity, path: inside === '' ? `${base}` : `${base}/${inside}`, what, repair, fix }
}
