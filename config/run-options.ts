import { type OptionSpec, STATE_DIR_OF_SERVER, WHICH_SERVER } from './schema.ts'

/** The options of `overlayd run`. */
export const RUN_OPTIONS: readonly OptionSpec[] = [
  { name: '--fork', value: 'TEMPLATE/NAME', meaning: 'The view; the command works on a fork of it.' },
  { name: '--keep', value: 'NAME', meaning: 'Keeps the fork as the view *TEMPLATE*`/`*NAME*.' },
  {
    name: '--promote',
    meaning:
      'Gives the view what the command has changed, if it ended with status 0, and removes the fork. Refused where the view was changed meanwhile at the same paths; the fork is kept then.',
  },
  { name: '--drop', meaning: 'Removes the fork with everything that the command has changed.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd run` and exits.' },
]
