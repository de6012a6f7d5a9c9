import type { Operation } from './operations.ts'

/** A difference that is meant. */
interface Deviation {
  readonly why: string
  readonly applies: (operation: Operation, kernel: string, core: string) => boolean
}

/** Everything in which overlay-core answers an operation in another way than the kernel, on purpose. */
export const DEVIATIONS: readonly Deviation[] = [
  {
    why: 'a removed directory that is still being listed is stale by handle (NFS3ERR_STALE), where a descriptor says ENOENT',
    applies: ({ op }, kernel, core) => op.startsWith('list') && kernel === 'ENOENT' && core === 'ESTALE',
  },
  {
    why: 'a name of more than 255 bytes is refused before anything else is looked at',
    applies: (_operation, kernel, core) => kernel.startsWith('E') && core === 'ENAMETOOLONG',
  },
  {
    why: 'an open file whose last name went has no links, where the kernel counts those of its lower, which stays',
    applies: ({ op }, kernel, core) =>
      op === 'handleStat' && / links 0 /.test(core) && kernel.replace(/ links \d+ /, ' links 0 ') === core,
  },
  {
    why: 'a directory that is not empty is not replaced: found before the way to the lowers turns out too long to be written down',
    applies: ({ op }, kernel, core) => op === 'rename' && kernel === 'EXDEV' && core === 'ENOTEMPTY',
  },
  {
    why: 'removing an ACL that is not there is done in the upper and ENODATA below, and by a change that is refused the kernel copies up all the same',
    applies: (operation, kernel, core) =>
      operation.op === 'removexattr' &&
      operation.name.startsWith('system.posix_acl_') &&
      [kernel, core].sort().join() === 'ENODATA,done',
  },
  {
    why: 'which directories are merged, and so have one link, depends on what was copied up (`linksOf` in tree.ts)',
    applies: ({ op }, kernel, core) =>
      op === 'stat' &&
      / links 1 /.test(kernel + core) &&
      /^40000 /.test(core) &&
      kernel.replace(/ links \d+ /, '') === core.replace(/ links \d+ /, ''),
  },
]

/** Whether a difference between the answers is a known deviation. */
export function explained(operation: Operation, kernel: string, core: string): boolean {
  return DEVIATIONS.some(({ applies }) => applies(operation, kernel, core))
}
