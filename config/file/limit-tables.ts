import type { Table } from './key.ts'
import { wholeType } from './value-types.ts'

const SHARE = 'a share of the descriptors that the process may have (`LimitNOFILE` of systemd, `ulimit -n`)'

export const LIMITS = {
  name: 'limits',
  named: false,
  meaning:
    'How much all views and clients together may use. The defaults suit a server of their own with thousands of views; smaller limits save memory. Limits of descriptors only lower the share that the server takes by itself: for more, raise the limit of the process.',
  keys: {
    names: {
      type: wholeType(1000, 100_000_000),
      meaning:
        'The maximum number of names that are cached. A name takes about 800 bytes. Names of views in use are cached beyond it.',
      otherwise: '150000',
      example: '50000',
    },
    listings: {
      type: wholeType(1000, 100_000_000),
      meaning: 'The maximum number of entries of directory listings that are cached. An entry takes about 100 bytes.',
      otherwise: '800000',
      example: '200000',
    },
    directories: {
      type: wholeType(4, 1_000_000),
      meaning: 'The maximum number of directories that are kept open.',
      otherwise: SHARE,
      example: '2000',
    },
    open_files: {
      type: wholeType(2, 1_000_000),
      meaning: 'The maximum number of files that are kept open.',
      otherwise: `${SHARE}, at most 4096`,
      example: '1000',
    },
    open_views: {
      type: wholeType(1, 100_000),
      meaning:
        'The maximum number of views of templates that are open. Beyond it the one that was idle longest is closed; views in use and ephemeral ones stay open.',
      otherwise: `4000, or ${SHARE} if that is less`,
      example: '500',
    },
    http_connections: {
      type: wholeType(4, 1_000_000),
      meaning:
        'The maximum number of HTTP connections. A new one closes another one, which is idle if possible. Takes effect at the start.',
      otherwise: `${SHARE}, at most 4096`,
      example: '200',
    },
    nfs_connections: {
      type: wholeType(5, 1_000_000),
      meaning:
        'The maximum number of NFS connections. A new one closes another one, which is idle if possible. Takes effect at the start.',
      otherwise: `${SHARE}, at most 1024`,
      example: '200',
    },
  },
} as const satisfies Table
