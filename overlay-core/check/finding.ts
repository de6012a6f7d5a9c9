import type { Name } from '../api/types.ts'

/** Something in an upper that is wrong, or that nothing needs. */
export interface Finding {
  /** Stable, for programs: for example `redirect-target-missing`. */
  readonly code: string
  /** An error changes what is seen, or will; a warning does not. */
  readonly severity: 'error' | 'warning'
  /** Below which directory it is. */
  readonly where: 'upper' | 'workdir'
  /** The names from there. */
  readonly path: readonly Name[]
  /** A sentence without its end: what is wrong, and what follows. */
  readonly what: string
  /** What a repair does, as a verb phrase; undefined: nothing can be done without knowing what was meant. */
  readonly repair: string | undefined
  /** Makes the repair. @throws the error of the disk */
  readonly fix: (() => Promise<void>) | undefined
}

/** What `report` of a check needs to know. */
export type Report = Omit<Finding, 'repair' | 'fix'> & {
  readonly mend?: readonly [repair: string, fix: () => Promise<void>] | undefined
}

export function finding({ mend, ...about }: Report): Finding {
  return { ...about, repair: mend?.[0], fix: mend?.[1] }
}
