import type { Table } from './key.ts'
import { GRACE, MOST_FILES, SIZE } from './quota-keys.ts'
import { wholeType } from './value-types.ts'

export const USERS = {
  name: 'users',
  named: false,
  meaning:
    'What each user may use in all their views together: in those of all templates with `upper = "per-user"`, and of `"ephemeral"` ones of users. The limits of each view, in [views](#views), apply as well. See [views.md](views.md#quotas).',
  keys: {
    quota: {
      type: SIZE,
      meaning:
        'The maximum size of all files in the uppers of a user together, in bytes or with `K`, `M`, `G` or `T`. What exceeds it fails with "disk quota exceeded"; removing always works.',
      otherwise: 'no limit',
      example: '"20G"',
    },
    quota_soft: {
      type: SIZE,
      meaning: 'Like `quota`, but a user may be above it for the time `quota_grace`.',
      otherwise: 'no limit',
      example: '"15G"',
    },
    quota_files: {
      type: wholeType(1, MOST_FILES),
      meaning: 'The maximum number of files, directories and other objects in the uppers of a user together.',
      otherwise: 'no limit',
      example: '200000',
    },
    quota_files_soft: {
      type: wholeType(1, MOST_FILES),
      meaning: 'Like `quota_files`, but a user may be above it for the time `quota_grace`.',
      otherwise: 'no limit',
      example: '150000',
    },
    quota_grace: {
      type: GRACE,
      meaning:
        'How long a user may be above a soft limit: a number of minutes, hours or days. After that, the soft limit is a hard one until the user is below it again.',
      default: '"7d"',
    },
  },
} as const satisfies Table
