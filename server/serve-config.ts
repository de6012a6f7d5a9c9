import {
  type Config,
  type ConfigRequest,
  formatProblem,
  formatProblems,
  loadConfigReader,
  type Settings,
} from '../config/index.ts'
import type { OptionError } from '../overlay-core/index.ts'
import { loadConfig } from './config-file.ts'

/** The parts of a configuration file that a server can serve. */
export interface ServedConfig {
  readonly settings: Settings
  /** Why some of its views are left out, one sentence per view. */
  readonly warnings: readonly string[]
  /** Rewrites an error about an option in terms of the file, with its position. */
  readonly explain: (error: OptionError) => string
}

/**
 * Determines what to serve from a file. A view with missing or wrongly placed directories is left out alone; any other error disables everything.
 *
 * @throws OptionError the file cannot be read
 * @returns the errors, one per line, if nothing can be served
 */
export async function servedConfig(request: ConfigRequest): Promise<ServedConfig | string> {
  const config = await loadConfig(request)
  const problems = config.problems.list()
  const broken = new Set(problems.flatMap(({ view }) => (view === undefined ? [] : [view])))
  const views = config.draft.views.filter(({ name }) => !broken.has(name))
  if (problems.some(({ view }) => view === undefined) || views.length === 0) return formatProblems(problems)
  return {
    settings: { ...config.draft, views },
    warnings: problems.map((problem) => `the view ${problem.view} is not served: ${formatProblem(problem)}`),
    explain: await explainer(config),
  }
}

async function explainer(config: Config): Promise<ServedConfig['explain']> {
  const { inFileWords, keyOfOption } = await loadConfigReader()
  return (error) => {
    const { option, message } = error
    const key = keyOfOption(option)
    if (key === undefined) return inFileWords(message)
    const { line, column } = config.problems.place(config.placeOf(option))
    const text = `\`${key}\`: ${inFileWords(error.reason)}`
    return formatProblem({ file: config.name, line, column, message: text })
  }
}
