import { createInterface } from 'node:readline'
import { OptionError } from '../overlay-core/index.ts'

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
const MOST_CHARS = 4096

/** The terminal or pipe from which a password is read. */
export type PasswordInput = Pick<NodeJS.ReadStream, 'isTTY' | 'setRawMode' | 'setEncoding'> & NodeJS.ReadableStream

/**
 * Reads a new password: twice from a terminal, without showing it, or the first line of anything else.
 *
 * @throws OptionError it is empty, or the two differ
 */
export async function readNewPassword(
  name: string,
  input: PasswordInput,
  ask: (text: string) => void,
): Promise<string> {
  if (!input.isTTY) return checked(await firstLine(input))
  const first = checked(await readHidden(`Password of ${name}: `, input, ask))
  if (first === (await readHidden('Again: ', input, ask))) return first
  throw new OptionError('password', 'the two passwords differ; start again')
}

function checked(password: string): string {
  if (password === '') throw new OptionError('password', 'is empty; type one, or pass one line on standard input')
  return password
}

async function firstLine(input: NodeJS.ReadableStream): Promise<string> {
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
  for await (const line of lines) {
    lines.close()
    return line
  }
  return ''
}

/** Reads a line from a terminal that shows nothing of it. */
function readHidden(prompt: string, input: PasswordInput, ask: (text: string) => void): Promise<string> {
  ask(prompt)
  input.setEncoding('utf8')
  input.setRawMode(true)
  input.resume()
  return new Promise((resolve, reject) => {
    let typed = ''
    const end = (finish: () => void) => {
      input.removeListener('data', read)
      input.setRawMode(false)
      input.pause()
      ask('\n')
      finish()
    }
    const read = (chunk: string | Buffer) => {
      for (const char of String(chunk)) {
        if (char === CTRL_C) return end(() => reject(new OptionError('password', 'was not given; nothing has changed')))
        if (char === '\r' || char === '\n' || char === CTRL_D) return end(() => resolve(typed))
        if (char === '\u007f' || char === '\b') typed = [...typed].slice(0, -1).join('')
        else if (typed.length < MOST_CHARS) typed += char
      }
    }
    input.on('data', read)
  })
}
