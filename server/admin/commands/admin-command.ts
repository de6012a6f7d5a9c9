import type { AdminRequest } from '../../../config/index.ts'
import type { Output } from '../../config-command.ts'
import { type Answer, askServer, chooseViewServer } from '../../config-server.ts'
import { confirm, type Input } from '../../confirm.ts'
import { type RunFile, readRunFiles } from '../../state-dir.ts'
import {
  brokenText,
  jobsText,
  kickText,
  locksText,
  progressText,
  quotaText,
  usageText,
  whoText,
} from './result-text.ts'
import { safe } from './text-table.ts'

/** What a command prints: as JSON, or for people. */
interface Printed {
  readonly json: unknown
  readonly text: () => string
}

/**
 * `overlayd who`, `kick`, `lock`, `quota`, `usage`, `job` and `top`: asks the running server, and prints the result. Returns the exit status: 0, or 1 if the
 * server cannot be reached.
 *
 * @throws OptionError as the server reported it, or the answer was no; nothing has changed
 */
export async function runAdminCommand(asked: AdminRequest, input: Input, output: Output): Promise<number> {
  const { print, printError } = output
  const server = chooseViewServer(await readRunFiles(asked.stateDir), { ...asked, view: undefined })
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  if (asked.verb === 'top') return await (await import('./top.ts')).top(server, asked.order, output)
  const question = asked.yes ? undefined : questionOf(asked)
  if (question !== undefined) await confirm(asked.verb, question, input, printError)
  const answer = await ask(server, asked, printError)
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const { json, text } = answer.result
  print(asked.json ? `${JSON.stringify(json, null, 2)}\n` : text())
  return 0
}

function questionOf(asked: AdminRequest): string | undefined {
  if (asked.verb === 'kick') {
    const { client, user } = asked.order
    return `End all connections and locks of ${client ?? `the user ${user}`}? Work in progress may be lost.`
  }
  if (asked.verb === 'lock break') return `End the lock ${asked.order.id}? Its client is not told.`
  return undefined
}

async function ask(
  server: RunFile,
  asked: Exclude<AdminRequest, { verb: 'top' }>,
  printError: Output['printError'],
): Promise<Answer<Printed>> {
  switch (asked.verb) {
    case 'who':
      return printed(await askServer(server, 'who', asked.order), whoText)
    case 'kick':
      return printed(await askServer(server, 'kick', asked.order), kickText)
    case 'lock list':
      return printed(await askServer(server, 'lock list', asked.order), locksText)
    case 'lock break':
      return printed(await askServer(server, 'lock break', asked.order), brokenText)
    case 'quota show':
    case 'quota set':
      return printed(
        asked.verb === 'quota show'
          ? await askServer(server, 'quota show', asked.order)
          : await askServer(server, 'quota set', asked.order),
        quotaText,
      )
    case 'usage':
      return printed(
        await withProgress(printError, (options) => askServer(server, 'usage', asked.order, options)),
        usageText,
      )
    case 'job list':
      return printed(await askServer(server, 'job list', {}), jobsText)
    case 'job show':
      return printed(await askServer(server, 'job show', asked.order), (job) => jobsText([job]))
    case 'job cancel':
      return printed(await askServer(server, 'job cancel', asked.order), (job) => jobsText([job]))
  }
}

function printed<Result>(answer: Answer<Result>, text: (result: Result) => string): Answer<Printed> {
  return 'failure' in answer ? answer : { result: { json: answer.result, text: () => text(answer.result) } }
}

type Follow = NonNullable<Parameters<typeof askServer>[3]>

/** Shows on a terminal how far a job has come; Ctrl-C cancels it. */
export async function withProgress<Result>(
  printError: Output['printError'],
  ask: (options: Follow) => Promise<Result>,
): Promise<Result> {
  const cancelled = new AbortController()
  const interrupt = () => cancelled.abort()
  const shown = process.stderr.isTTY === true
  process.once('SIGINT', interrupt)
  try {
    return await ask({
      signal: cancelled.signal,
      onProgress: (progress) => {
        if (shown) printError(`\r\u001b[K${safe(progressText({ progress })).slice(0, 100)}`)
      },
    })
  } finally {
    process.off('SIGINT', interrupt)
    if (shown) printError('\r\u001b[K')
  }
}
