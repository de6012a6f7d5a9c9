import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { serverChoice } from './server-choice.ts'
import type { Command } from './settings.ts'
import { TRASH_OPTIONS } from './trash-options.ts'

const VERBS = ['list', 'restore', 'empty'] as const

/** Parses `overlayd trash …`. @throws OptionError */
export function parseTrash([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('trash') }
  const verb = VERBS.find((each) => each === word)
  if (word === undefined) throw new OptionError('trash', `needs a word more; say ${VERBS.join(', ')}`)
  if (verb === undefined) throw OptionError.unknown(word, VERBS, 'word after trash')
  const { values, words } = cutArguments(argv, TRASH_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('trash') }
  const [first, ...more] = words
  if (verb === 'restore' && first === undefined)
    throw new OptionError('trash', 'restore needs the id or path of what was removed; see overlayd trash list')
  if (more.length > 0) throw new OptionError('trash', `takes no further word, but got ${JSON.stringify(more[0])}`)
  const name = values.get('--as')?.at(-1)
  if (name !== undefined && verb !== 'restore') throw new OptionError('--as', 'goes with overlayd trash restore')
  // One thing has a slash in its path, or is an id.
  const isThing = verb === 'restore' || (first !== undefined && /^[0-9a-f]{16}$|\//.test(first))
  return {
    kind: 'trash',
    trash: {
      ...{ verb, template: isThing ? undefined : first, id: isThing ? first : undefined, name },
      ...{ yes: values.has('--yes'), json: values.has('--json') },
      ...serverChoice(values, environment),
    },
  }
}
