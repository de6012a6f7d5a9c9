import { type OptionSpec, STATE_DIR_OF_SERVER } from './schema.ts'

const JSON_OUTPUT: OptionSpec = { name: '--json', meaning: 'Prints the result as JSON.' }
const YES: OptionSpec = {
  name: '--yes',
  meaning: 'Asks nothing. Commands that take something away ask on a terminal, and need it elsewhere.',
}
const OF_SERVER: readonly OptionSpec[] = [
  {
    name: '--pid',
    value: 'PID',
    meaning: 'Which server is meant, if several run.',
    otherwise: 'the only one that runs',
  },
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use this command and exits.' },
]

const VIEW: OptionSpec = {
  name: '--view',
  value: 'VIEW',
  meaning: 'Only this view, or all views of this template.',
}
const USER: OptionSpec = { name: '--user', value: 'USER', meaning: 'Only this user.' }
const CLIENT: OptionSpec = { name: '--client', value: 'ADDRESS', meaning: 'Only the client with this address.' }
const LIMIT: OptionSpec = { name: '--limit', value: 'N', meaning: 'At most so many.', default: '20' }

/** The options of `overlayd who`. */
export const WHO_OPTIONS: readonly OptionSpec[] = [VIEW, USER, CLIENT, JSON_OUTPUT, ...OF_SERVER]
/** The options of `overlayd kick`. */
export const KICK_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--client',
    value: 'ADDRESS',
    meaning: 'Ends the connections and NFS locks of the client with this address.',
  },
  { name: '--user', value: 'USER', meaning: 'Ends the connections, sessions and WebDAV locks of this user.' },
  YES,
  JSON_OUTPUT,
  ...OF_SERVER,
]
/** The options of `overlayd lock`. */
export const LOCK_OPTIONS: readonly OptionSpec[] = [
  VIEW,
  USER,
  CLIENT,
  { ...LIMIT, default: '1000' },
  YES,
  JSON_OUTPUT,
  ...OF_SERVER,
]
/** The options of `overlayd quota`. */
export const QUOTA_OPTIONS: readonly OptionSpec[] = [
  { name: '--user', value: 'USER', meaning: 'With `show`: this user, over all views.' },
  { name: '--bytes', value: 'SIZE', meaning: 'The limit of bytes; 0 takes it away.', examples: ['--bytes 2G'] },
  { name: '--soft-bytes', value: 'SIZE', meaning: 'The soft limit of bytes; 0 takes it away.' },
  { name: '--files', value: 'N', meaning: 'The limit of objects; 0 takes it away.' },
  { name: '--soft-files', value: 'N', meaning: 'The soft limit of objects; 0 takes it away.' },
  { name: '--inherit', meaning: 'With `set`: gives the view the limits of its template again.' },
  JSON_OUTPUT,
  ...OF_SERVER,
]
/** The options of `overlayd usage`. */
export const USAGE_OPTIONS: readonly OptionSpec[] = [
  LIMIT,
  { name: '--count', meaning: 'Walks the views whose usage is not known, because they have no quota.' },
  JSON_OUTPUT,
  ...OF_SERVER,
]
/** The options of `overlayd job`. */
export const JOB_OPTIONS: readonly OptionSpec[] = [JSON_OUTPUT, ...OF_SERVER]
/** The options of `overlayd top`. */
export const TOP_OPTIONS: readonly OptionSpec[] = [
  { name: '--seconds', value: 'N', meaning: 'How often the figures are read.', default: '2' },
  { name: '--once', meaning: 'Prints the figures once and exits. So it is where the output is no terminal.' },
  ...OF_SERVER,
]
