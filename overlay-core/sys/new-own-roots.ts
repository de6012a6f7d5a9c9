import { chmodStep, chownStep } from './attr.ts'
import { failureOf, ResultOf, type SystemCall } from './call.ts'
import { tryCallsElsewhere } from './calls-elsewhere.ts'
import { writeStep } from './data.ts'
import { mkdirStep } from './dir.ts'
import { sysError } from './error.ts'
import { O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_RDONLY, O_WRONLY } from './flags.ts'
import { closeLater, closeStep, openPathStep, openStep } from './open.ts'

const PRIVATE_DIRECTORY = 0o700
const PRIVATE_FILE = 0o600
const ENOSPC = 28

/** A new upper and a new workdir, in a directory of their own. */
export interface NewOwnRoots {
  /** The directory in which that directory is created. */
  readonly parent: string
  readonly name: string
  readonly upper: { readonly mode: number; readonly uid: number; readonly gid: number }
  /** A small file beside them, which is written last. */
  readonly record: { readonly name: string; readonly content: Uint8Array } | undefined
}

/** The steps that open something: the parent, the new directory, its upper, and the file. */
const [PARENT, OWN, UPPER, RECORD] = [0, 2, 5, 8]

/**
 * Creates `NAME/upper`, with this mode and owner, `NAME/work` and the file, in one trip to a thread, never on the event loop. Everything else has mode 0700, the
 * file 0600. Nothing is synced. After an error, what has been created stays.
 *
 * @throws EEXIST | ENOENT | ENOSPC | EDQUOT | EROFS | EPERM …
 */
export async function createOwnRoots({ parent, name, upper, record }: NewOwnRoots): Promise<void> {
  const [inParent, inOwn, ofUpper] = [new ResultOf(PARENT), new ResultOf(OWN), new ResultOf(UPPER)]
  const steps: SystemCall[] = [
    openPathStep(parent),
    mkdirStep(inParent, name, PRIVATE_DIRECTORY),
    openStep(inParent, name, O_PATH | O_DIRECTORY),
    mkdirStep(inOwn, 'work', PRIVATE_DIRECTORY),
    mkdirStep(inOwn, 'upper', PRIVATE_DIRECTORY),
    openStep(inOwn, 'upper', O_RDONLY | O_DIRECTORY),
    chownStep(ofUpper, '', upper.uid, upper.gid),
    // The mode comes last, because a change of owner clears setuid and setgid.
    chmodStep(ofUpper, upper.mode),
  ]
  const opened = [PARENT, OWN, UPPER]
  if (record !== undefined) {
    steps.push(openStep(inOwn, record.name, O_WRONLY | O_CREAT | O_EXCL, PRIVATE_FILE))
    steps.push(writeStep(new ResultOf(RECORD), record.content))
    opened.push(RECORD)
  }
  const closing = steps.length
  steps.push(...opened.map((at) => closeStep(new ResultOf(at))))
  const results = await tryCallsElsewhere(steps)
  if (results.length === steps.length) {
    const written = record === undefined || results[RECORD + 1] === record.content.length
    if (written) return
    throw sysError('pwrite', ENOSPC, record.name)
  }
  for (const at of opened.slice(Math.max(0, results.length - closing)))
    if ((results[at] ?? -1) >= 0) closeLater(results[at] as number)
  throw failureOf(steps, results, name) ?? sysError('mkdirat', ENOSPC, name)
}
