import { isUnwritable, OptionError } from '../../overlay-core/index.ts'

/** Why a view cannot be changed, for whoever gave the command. `what`: the passive that follows `cannot`; `directory`: that of the template. */
export function refusalOf(view: string, what: string, directory: string, error: unknown): OptionError {
  if (error instanceof OptionError) return new OptionError('view', error.reason)
  const { code, message } = error as NodeJS.ErrnoException
  if (isUnwritable(error)) return new OptionError('view', `${view} cannot ${what}: no space in ${directory}; free some`)
  return new OptionError('view', `${view} cannot ${what} (${code ?? message}); the log of the server says why`)
}
