/** An error in a configuration file. Lines and columns count from 1; columns count UTF-16 units. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly column: number
  /** What is wrong and how to mend it, on one line. */
  readonly message: string
  /** The only view that the error disables; undefined if it disables all. */
  readonly view?: string | undefined
}

/** Formats a problem as `FILE:LINE:COLUMN: MESSAGE`. */
export function formatProblem({ file, line, column, message }: Problem): string {
  // Control characters from the file are replaced, because they would break the line or the terminal.
  return `${file}:${line}:${column}: ${message}`.replace(/\p{Cc}/gu, '?')
}

/** Formats problems one per line, without repeating those that affect several views. */
export function formatProblems(problems: readonly Problem[]): string {
  return [...new Set(problems.map(formatProblem))].map((line) => `${line}\n`).join('')
}

/** Collects the problems of one file. */
export class Problems {
  readonly #file: string
  readonly #lineStarts: number[] = [0]
  readonly #found: Problem[] = []

  constructor(file: string, text: string) {
    this.#file = file
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#lineStarts.push(at + 1)
  }

  /** Adds a problem at an offset of the text. `view`: the only view that it disables. */
  add(at: number, message: string, view?: string): void {
    const { line, column } = this.place(at)
    this.#found.push({ file: this.#file, line, column, message, view })
  }

  addAtLine(line: number, column: number, message: string): void {
    this.#found.push({ file: this.#file, line, column, message })
  }

  /** Converts an offset to line and column. */
  place(at: number): { readonly line: number; readonly column: number } {
    const next = this.#lineStarts.findIndex((start) => start > at)
    const line = next < 0 ? this.#lineStarts.length : next
    return { line, column: at - (this.#lineStarts[line - 1] as number) + 1 }
  }

  get any(): boolean {
    return this.#found.length > 0
  }

  /** The problems in the order of the file, without duplicates. */
  list(): Problem[] {
    const sorted = this.#found.toSorted((a, b) => a.line - b.line || a.column - b.column)
    const seen = new Set<string>()
    return sorted.filter((problem) => {
      const text = `${problem.view}\0${formatProblem(problem)}`
      return !seen.has(text) && seen.add(text)
    })
  }
}
