import type { OptionSpec } from './schema.ts'

/** The options of `overlayd fsck`. */
export const FSCK_OPTIONS: readonly OptionSpec[] = [
  { name: '--config', value: 'FILE', meaning: 'The configuration file, which says where views and their layers are.' },
  {
    name: '--lowerdir',
    value: 'DIRS',
    meaning: 'The lowers of an upper, topmost first, with colons between them, as in `-o lowerdir=`.',
    otherwise: 'those of the configuration file',
  },
  {
    name: '--workdir',
    value: 'DIR',
    meaning: 'The workdir of an upper.',
    otherwise: '`work` beside it, if there is one',
  },
  { name: '--userxattr', meaning: 'Marks are `user.overlay.*`, as without root.' },
  { name: '--yes', meaning: 'Makes all repairs that are possible.' },
  { name: '--json', meaning: 'Prints the findings as JSON.' },
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd fsck` and exits.' },
]
