/** Something wrong in a configuration file. Lines and columns count from 1; columns count UTF-16 units. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly column: number
  /** What is wrong and how to mend it, in one line. */
  readonly message: string
  /** The only view that it costs; undefined when it costs all. */
  readonly view?: string | undefined
}

/** A problem as it is shown: `FILE:LINE:COLUMN: MESSAGE`. */
export function formatProblem({ file, line, column, message }: Problem): string {
  // One line whatever the file holds: control characters would break it, or the terminal.
  return `${file}:${line}:${column}: ${message}`.replace(/\p{Cc}/gu, '?')
}

/** Problems as they are printed: one on a line, each once whatever views it costs. */
export function formatProblems(problems: readonly Problem[]): string {
  return [...new Set(problems.map(formatProblem))].map((line) => `${line}\n`).join('')
}

/** What is found wrong in one file. */
export class Problems {
  readonly #file: string
  readonly #lineStarts: number[] = [0]
  readonly #found: Problem[] = []

  constructor(file: string, text: string) {
    this.#file = file
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#lineStarts.push(at + 1)
  }

  /** Notes what is wrong at an offset of the text. `view`: the only view that it costs. */
  add(at: number, message: string, view?: string): void {
    const { line, column } = this.place(at)
    this.#found.push({ file: this.#file, line, column, message, view })
  }

  addAtLine(line: number, column: number, message: string): void {
    this.#found.push({ file: this.#file, line, column, message })
  }

  /** The line and column of an offset. */
  place(at: number): { readonly line: number; readonly column: number } {
    const next = this.#lineStarts.findIndex((start) => start > at)
    const line = next < 0 ? this.#lineStarts.length : next
    return { line, column: at - (this.#lineStarts[line - 1] as number) + 1 }
  }

  get any(): boolean {
    return this.#found.length > 0
  }

  /** In the order of the file, each once. */
  list(): Problem[] {
    const sorted = this.#found.toSorted((a, b) => a.line - b.line || a.column - b.column)
    const seen = new Set<string>()
    return sorted.filter((problem) => {
      const text = `${problem.view}\0${formatProblem(problem)}`
      return !seen.has(text) && seen.add(text)
    })
  }
}
