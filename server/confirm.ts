import { createInterface } from 'node:readline/promises'
import { OptionError } from '../overlay-core/index.ts'

/** The terminal or pipe from which the answer is read. */
export type Input = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/**
 * Asks a question, and goes on only after a yes.
 *
 * @throws OptionError naming `command`: the answer was no, or nobody can be asked
 */
export async function confirm(
  command: string,
  question: string,
  input: Input,
  printError: (text: string) => void,
): Promise<void> {
  if (!input.isTTY) throw new OptionError(command, 'asks before it changes anything; add --yes')
  printError(`${question} [y/N] `)
  const lines = createInterface({ input })
  const answer = await lines.question('')
  lines.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new OptionError(command, 'the answer was not yes; nothing has changed')
}
