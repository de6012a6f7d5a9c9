import { type OptionSpec, STATE_DIR_OF_SERVER, WHICH_SERVER } from './schema.ts'

/** The options of `overlayd snapshot`, `snapshots`, `rollback`, `reset`, `restore`, `dedupe`, `fork` and `squash`. */
export const SNAPSHOT_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--yes',
    meaning:
      'Asks nothing. `rollback`, `reset`, `restore` and `snapshot remove` ask on a terminal, and need it elsewhere.',
  },
  { name: '--drop', meaning: 'With `rollback`, `reset` and `restore`: does not keep what the view contains now.' },
  {
    name: '--aside',
    meaning:
      'With paths of `reset` and `restore`: copies what was changed or added there beside it in the view, as *PATH*`.before-reset-TIME` or `.before-restore-TIME`.',
  },
  {
    name: '--ttl',
    value: 'TIME',
    meaning: 'With `fork`: removes the fork after this time, for example `30m`, `2h` or `7d`.',
  },
  {
    name: '--ephemeral',
    meaning: 'With `fork`: removes the fork when nobody has used it for the time `idle` of the template.',
  },
  { name: '--json', meaning: 'Prints the result as JSON.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use these commands and exits.' },
]
