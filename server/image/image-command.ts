import { stat } from 'node:fs/promises'
import type { ImageRequest } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Output } from '../config-command.ts'
import { buildImage } from './build-image.ts'
import { type Finding, lintImage } from './lint-image.ts'
import { runProgram } from './run-program.ts'

/**
 * `overlayd image …`: makes or checks an image. Returns the exit status: 1 if the image cannot boot.
 *
 * @throws OptionError it could not be made or read
 */
export async function workOnImage(asked: ImageRequest, { print, printError }: Output): Promise<number> {
  const { directory } = asked
  if (asked.verb === 'build') {
    await buildImage(directory, asked.from, (text) => printError(`${text}\n`))
    print(`made ${directory}\n`)
    return report(await findings(directory, true), false, print)
  }
  const found = await stat(directory).catch(() => undefined)
  if (found?.isDirectory() !== true)
    throw new OptionError('image lint', `${directory} is not a directory; name the root of an image`)
  return report(await findings(directory, asked.fix), asked.json, print)
}

interface Told extends Omit<Finding, 'fix'> {
  readonly fixed: boolean
  readonly fixable: boolean
}

async function findings(directory: string, fix: boolean): Promise<Told[]> {
  const told: Told[] = []
  for (const { fix: mend, ...finding } of await lintImage(directory, listCapabilities)) {
    if (fix) await mend?.()
    told.push({ ...finding, fixable: mend !== undefined, fixed: fix && mend !== undefined })
  }
  return told
}

function report(told: readonly Told[], json: boolean, print: (text: string) => void): number {
  if (json) print(`${JSON.stringify(told, null, 2)}\n`)
  else if (told.length === 0) print('nothing was found\n')
  else
    for (const { level, path, text, fixed, fixable } of told) {
      const mended = fixed ? ' (mended)' : fixable ? ' (--fix mends it)' : ''
      print(`${level}: ${path.replace(/\p{Cc}/gu, '?')}: ${text.replace(/\p{Cc}/gu, '?')}${mended}\n`)
    }
  return told.some(({ level }) => level === 'error') ? 1 : 0
}

/** The output of getcap(8). */
async function listCapabilities(directory: string): Promise<string | undefined> {
  const lines: string[] = []
  const ended = await runProgram('getcap', ['-r', directory], (line) => lines.push(line))
  return ended && lines.join('\n')
}
