import { type OptionSpec, STATE_DIR_OF_SERVER, WHICH_SERVER } from './schema.ts'

/** The options of `overlayd rebase` and `conflicts`. */
export const REBASE_OPTIONS: readonly OptionSpec[] = [
  { name: '--dry-run', meaning: 'With `rebase`: computes what would come of each path, and changes nothing.' },
  { name: '--now', meaning: 'With `rebase`: at once, also in views that are in use. This is the default.' },
  {
    name: '--at-next-open',
    meaning:
      'With `rebase`: when each view is opened next, which is after it was idle or the server was started again. Its users then never see a change under their hands.',
  },
  { name: '--all', meaning: 'With `rebase`: prints all conflicts of a view, and not only the first 20.' },
  {
    name: '--yes',
    meaning: 'Asks nothing. `rebase` asks on a terminal, and needs it elsewhere, except with `--dry-run`.',
  },
  { name: '--json', meaning: 'Prints all that is known as JSON.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use these commands and exits.' },
]
