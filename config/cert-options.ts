import type { OptionSpec } from './schema.ts'

/** The options of `overlayd cert`. */
export const CERT_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--days',
    value: 'NUMBER',
    meaning: 'How long the certificate is valid.',
    otherwise: '3650 for an authority, else 365',
  },
  { name: '--name', value: 'TEXT', meaning: 'The name of a new authority, for people.', default: 'overlayd authority' },
  {
    name: '--out',
    value: 'DIR',
    meaning: 'Where the certificate and its key are written.',
    otherwise: 'the directory of the authority',
  },
  { name: '--json', meaning: 'Prints the list as JSON.' },
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd cert` and exits.' },
]
