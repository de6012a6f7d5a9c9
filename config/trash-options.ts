import { type OptionSpec, STATE_DIR_OF_SERVER, WHICH_SERVER } from './schema.ts'

/** The options of `overlayd trash`. */
export const TRASH_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--as',
    value: 'NAME',
    meaning: 'With `restore`: gives the view or snapshot this name.',
    otherwise: 'the name that it had',
  },
  { name: '--yes', meaning: 'Asks nothing. `empty` asks on a terminal, and needs it elsewhere.' },
  { name: '--json', meaning: 'Prints the result as JSON.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd trash` and exits.' },
]
