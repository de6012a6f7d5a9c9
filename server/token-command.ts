import type { TokenRequest } from '../config/index.ts'
import type { Output } from './config-command.ts'
import { type Answer, askServer, chooseConfigServer } from './config-server.ts'
import type { TokenDescription } from './login/index.ts'
import { readNewPassword } from './read-password.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'

/**
 * `overlayd token …`: asks the running server to make, list or revoke app passwords, and prints the result. Returns the exit status: 0, or 1 if the server
 * cannot be reached.
 *
 * @throws OptionError as the server reported it; nothing has changed
 */
export async function askForTokens(asked: TokenRequest, { print, printError }: Output): Promise<number> {
  const server = chooseConfigServer(await readRunFiles(asked.stateDir), asked)
  if (typeof server === 'string') {
    printError(`overlayd: ${server}\n`)
    return 1
  }
  const { json, askPassword } = asked
  const password = askPassword ? await readNewPassword(`the link ${asked.name}`, process.stdin, printError) : undefined
  const answer = await order(server, asked, password)
  if ('failure' in answer) {
    printError(`overlayd: server ${server.pid} ${answer.failure}\n`)
    return 1
  }
  const found = answer.result
  const [one] = found
  if (json) print(`${JSON.stringify(asked.verb === 'list' ? found : one, null, 2)}\n`)
  else if (asked.verb === 'list') print(table(found))
  else if (asked.verb === 'revoke') print(`revoked ${one?.id} (${one?.name} of ${one?.user})\n`)
  else print(`${one?.href ?? one?.secret}\n`)
  return 0
}

async function order(
  server: RunFile,
  asked: TokenRequest,
  password: string | undefined,
): Promise<Answer<readonly TokenDescription[]>> {
  const { user } = asked
  if (asked.verb === 'list') return await askServer(server, 'token list', given({ user }))
  const { name, view, path, mode, kind, seconds, id } = asked
  const answer =
    asked.verb === 'revoke'
      ? await askServer(server, 'token revoke', given({ user, id }))
      : await askServer(server, 'token make', given({ user, name, view, path, mode, kind, password, seconds }))
  return 'failure' in answer ? answer : { result: [answer.result] }
}

/** Leaves out what is undefined. */
function given<Of extends object>(order: Of): { [Key in keyof Of]?: Exclude<Of[Key], undefined> } {
  return Object.fromEntries(Object.entries(order).filter(([, value]) => value !== undefined)) as Of & object
}

function table(tokens: readonly TokenDescription[]): string {
  if (tokens.length === 0) return 'there are no app passwords and links yet\n'
  const rows = [
    ['ID', 'USER', 'NAME', 'KIND', 'FOR', 'MODE', 'EXPIRES'],
    ...tokens.map(({ id, user, name, kind, view, path, mode, expires }) => [
      ...[id, user, name, kind],
      view === null ? 'all' : `${view}${path}`,
      mode,
      expires === null ? 'never' : expires.slice(0, 16).replace('T', ' '),
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => [...(row[column] as string)].length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return `${rows.map(line).join('\n')}\n`
}
