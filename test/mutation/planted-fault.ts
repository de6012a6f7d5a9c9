/** An edit of one source that makes the program wrong, and the tests that have to notice. */
export interface PlantedFault {
  readonly area: string
  /** What is wrong with the program then. */
  readonly title: string
  /** The source, from the top of the repository. */
  readonly file: string
  /** Stands exactly once in the source. */
  readonly find: string
  readonly replace: string
  /** Tests of the same area, from the top; one that fails is enough. */
  readonly tests: readonly string[]
}

/** Plants faults of one area in one source. */
export function area(
  name: string,
  file: string,
  tests: readonly string[],
): (title: string, find: string, replace: string) => PlantedFault {
  return (title, find, replace) => ({ area: name, title, file, find, replace, tests })
}

/** `source` with the fault in it. @throws Error what it is to replace is not there, or more than once */
export function planted(source: string, { file, find, replace, title }: PlantedFault): string {
  const count = source.split(find).length - 1
  if (count !== 1) {
    const mend = 'the source has changed: write the fault anew'
    throw new Error(`${file}: ${JSON.stringify(find)} stands there ${count} times; ${mend} (${title})`)
  }
  return source.replace(find, () => replace)
}
