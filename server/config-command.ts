import {
  type Config,
  type ConfigRequest,
  formatProblems,
  loadConfigReader,
  type PrintRequest,
} from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { loadConfig } from './config-file.ts'

/** The output of a command. */
export interface Output {
  readonly print: (text: string) => void
  readonly printError: (text: string) => void
}

/** `overlayd config check`: prints every error of the file. Returns the exit status: 0 without errors, otherwise 1. */
export async function checkConfig(request: ConfigRequest, { print, printError }: Output): Promise<number> {
  const config = await loadOrTell(request, printError)
  if (config?.settings === undefined) {
    if (config !== undefined) printError(formatProblems(config.problems.list()))
    return 1
  }
  const names = config.settings.views.map(({ name }) => name)
  print(`${request.name} is right: it serves ${names.join(', ')}.\n`)
  return 0
}

/** `overlayd config print`: prints every effective value and its source. Returns the exit status: 1 if the file has errors, which are printed. */
export async function printConfig(request: PrintRequest, { print, printError }: Output): Promise<number> {
  const { printValues, printValuesAsJson, defaultValues } = await loadConfigReader()
  const config = request.config && (await loadOrTell(request.config, printError))
  if (request.config !== undefined && config === undefined) return 1
  const values = config?.values ?? defaultValues(request.environment, request.overrides)
  print(request.json ? printValuesAsJson(values) : printValues(values))
  if (config === undefined || config.settings !== undefined) return 0
  printError(formatProblems(config.problems.list()))
  return 1
}

async function loadOrTell(request: ConfigRequest, printError: Output['printError']): Promise<Config | undefined> {
  try {
    return await loadConfig(request)
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    printError(`overlayd: ${error.message.replace(/\p{Cc}/gu, '?')}\n`)
    return undefined
  }
}
