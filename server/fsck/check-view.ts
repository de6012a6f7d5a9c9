import { dirname, join } from 'node:path'
import { type CheckedUsage, checkUpper } from '../../overlay-core/index.ts'
import { isThere } from '../make-directory.ts'
import { readUsage, writeUsage } from '../registry/view-quota.ts'
import { type Problem, problemOf } from './problem.ts'

/** An upper with what is below it. */
export interface CheckedTree {
  readonly upper: string
  readonly workdir: string | undefined
  readonly lowers: readonly string[]
  readonly userxattr: boolean
}

/** Checks an upper or a frozen layer. */
export async function* checkTree(tree: CheckedTree, usage?: CheckedUsage): AsyncGenerator<Problem> {
  for await (const finding of checkUpper(tree, usage)) yield problemOf(finding, tree)
}

/** Checks the upper of a view, and its saved usage. */
export async function* checkView(tree: CheckedTree): AsyncGenerator<Problem> {
  const usage = { bytes: 0, files: 0 }
  yield* checkTree(tree, usage)
  const own = dirname(tree.upper)
  if (!(await isThere(join(own, 'usage.json')))) return
  const saved = await readUsage(own)
  const path = join(own, 'usage.json')
  if (saved === undefined) {
    yield {
      code: 'usage-unreadable',
      severity: 'warning',
      path,
      what: 'cannot be read; the server counts the upper again',
      repair: undefined,
      fix: undefined,
    }
    return
  }
  // Otherwise the server counts again anyway.
  if (!saved.clean || (saved.bytes === usage.bytes && saved.files === usage.files)) return
  yield {
    code: 'usage-wrong',
    severity: 'error',
    path,
    what: `says that the view uses ${saved.bytes} bytes and ${saved.files} objects of its quota, but it uses ${usage.bytes} and ${usage.files}; something else changed its upper`,
    repair: 'have the server count again when the view is opened next',
    fix: () => writeUsage(own, { ...saved, clean: false }),
  }
}
