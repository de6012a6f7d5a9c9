/**
 * Fills the file system that holds the upper, tries changes on the overlay, makes room and tries them again. Prints what happened as JSON.
 *
 *     node full-disk-program.ts DIRECTORY-OF-UPPER DIRECTORY-OF-LOWER
 */
import { execFileSync } from 'node:child_process'
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno, mount, OverlayError, parseOptions } from '../../overlay-core/index.ts'
import { type Picture, pictureDifferences, retainAll, takePicture } from '../crash/picture.ts'
import { Actor, ROOT } from '../crash/scenario.ts'

/** What a change did. */
export interface Outcome {
  readonly change: string
  /** The errno, or `ok`. */
  readonly answer: string
  /** In what the tree is another one than before; and what lies in the work directory. */
  readonly differences: readonly string[]
}

const FEW_INODES = 1000
/** ENOSPC and EDQUOT. */
const NO_ROOM = [-28, -122]
const BIG_BYTES = 2 * 1024 * 1024
const [dir, lower] = process.argv.slice(2) as [string, string]

makeLower()
for (const name of ['upper', 'work', 'filler']) mkdirSync(join(dir, name))
const options = parseOptions(`lowerdir=${lower},upperdir=${join(dir, 'upper')},workdir=${join(dir, 'work')}`)
let overlay = await mount(options)
let actor = new Actor(overlay, () => undefined)
await actor.create('mine', 'mine')
await overlay.sync()

/** Each needs blocks or an inode. */
const changes: Record<string, () => Promise<unknown>> = {
  'copy-up for a write': () => actor.write('big', 'changed'),
  'copy-up for a chmod': () => actor.chmod('small', 0o600),
  'copy-up of a directory': () => actor.create('dir/new'),
  create: () => actor.create('new'),
  mkdir: () => actor.mkdir('made'),
  symlink: () => actor.view.symlink(ROOT, 'symlink', 'somewhere'),
  'link of a lower file': () => actor.link('other', 'linked'),
  'rename of a lower file': () => actor.rename('file', 'moved'),
  'rename of a lower directory': () => actor.rename('tree', 'moved-tree'),
  PUT: () => actor.put('put', 'content'),
  'a write that makes a file larger': () => actor.write('mine', 'x'.repeat(64 * 1024), 4096),
}

const known = await retainAll(overlay)
const before = await takePicture(overlay, known)
fill()
const full = await tryAll(before)
const again = await mountAgain()
rmSync(join(dir, 'filler'), { recursive: true })
// btrfs has the room again when the removal is committed.
execFileSync('sync', ['-f', dir])
// Where nothing at all could be prepared it was served read-only, which ends with the next mount.
if (again === 'ok' && overlay.readOnly) await overlay.unmount()
if (again !== 'ok' || overlay.readOnly) overlay = await mount(options)
actor = new Actor(overlay, () => undefined)
const afterwards = pictureDifferences(before, await takePicture(overlay, known), 0)
const roomy = await tryAll(undefined)
await overlay.unmount()
process.stdout.write(JSON.stringify({ full, again, afterwards, roomy }))

function makeLower(): void {
  for (const name of ['dir', 'tree']) mkdirSync(join(lower, name))
  writeFileSync(join(lower, 'big'), Buffer.alloc(BIG_BYTES, 1))
  for (const name of ['small', 'other', 'file', 'tree/leaf']) writeFileSync(join(lower, name), `this is ${name}`)
}

/** Takes all inodes where those are few, then all blocks, then what is left of inodes. */
function fill(): void {
  const filler = join(dir, 'filler')
  let files = 0
  const makeFiles = (most: number) =>
    until(() => {
      for (const end = files + most; files < end; files++) writeFileSync(join(filler, `${files}`), '')
    })
  makeFiles(FEW_INODES)
  const fd = openSync(join(filler, '0'), 'w')
  for (let bytes = 1024 * 1024; bytes >= 512; bytes /= 2) {
    until(() => {
      for (;;) writeSync(fd, Buffer.alloc(bytes, 2))
    })
    fsyncSync(fd)
  }
  closeSync(fd)
  makeFiles(Number.POSITIVE_INFINITY)
}

/** Does `work`, which goes on until there is no room. */
function until(work: () => void): void {
  try {
    work()
  } catch (error) {
    // Node has no name for EDQUOT.
    if (!NO_ROOM.includes((error as NodeJS.ErrnoException).errno ?? 0)) throw error
  }
}

async function tryAll(state: Picture | undefined): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const [change, make] of Object.entries(changes)) {
    const answer = await codeOf(make)
    const seen = state ? pictureDifferences(state, await takePicture(overlay, known), 0) : []
    const left = readdirSync(join(dir, 'work/work')).map((name) => `work/${name}`)
    outcomes.push({ change, answer, differences: [...seen, ...left] })
  }
  return outcomes
}

async function mountAgain(): Promise<string> {
  const ended = await codeOf(() => overlay.unmount())
  if (ended !== 'ok') return ended
  return await codeOf(async () => {
    overlay = await mount(options)
  })
}

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
    return 'ok'
  } catch (error) {
    if (isErrno(error) && error instanceof OverlayError) return error.code
    return String(error)
  }
}
