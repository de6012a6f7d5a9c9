import { isErrno } from '../api/errno.ts'
import { FileType } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import type { Usage } from '../base/quota.ts'
import type { Layer } from '../layer/layer.ts'
import { isWhiteoutDevice } from '../layer/whiteout.ts'
import { isAbsent } from '../lookup/hardlink.ts'
import type { Charges } from '../objects/charges.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { readdirFd } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { type Stat, statxAt } from '../sys/stat.ts'

/** How often the upper is counted again because it changed meanwhile. */
const MOST_ATTEMPTS = 5
/** The number of attributes that are read at the same time. */
const AT_ONCE = 16
/** Paths are opened in pieces of this length at most. The kernel accepts 4095 bytes. */
const PATH_BYTES = 3500

/** A directory to count, by its name in its parent; the root of the walk has no parent. */
interface Place {
  readonly parent: Place | undefined
  readonly name: string
}

/** Lets the quota be counted again while the overlay is mounted. */
export class Recounter {
  readonly #sb: SuperBlock
  #ended = false
  #running: Promise<Usage | undefined> | undefined

  constructor(sb: SuperBlock) {
    this.#sb = sb
    const { charges } = sb
    if (charges) charges.quota.counter = () => this.#run(charges)
  }

  #run(charges: Charges): Promise<Usage | undefined> {
    this.#running ??= recount(this.#sb, charges, () => this.#ended).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Ends a recount, before the descriptors are closed. */
  async end(): Promise<void> {
    this.#ended = true
    if (this.#sb.charges) this.#sb.charges.quota.counter = undefined
    await this.#running?.catch(() => undefined)
  }
}

/**
 * Counts what the upper contains by walking through it, while calls go on, and corrects the quota. If the upper changes meanwhile, the result is worthless, and the
 * upper is counted again.
 *
 * @returns the difference to what was counted before; undefined if the upper changed during each attempt, or the overlay was unmounted
 */
async function recount(sb: SuperBlock, charges: Charges, ended: () => boolean): Promise<Usage | undefined> {
  const { barrier } = sb
  for (let attempt = 0; attempt < MOST_ATTEMPTS && !ended(); attempt++) {
    // Inside a call, a change may be made and not counted yet.
    const before = await barrier.alone(() => (charges.idle ? charges.quota.changes : undefined))
    if (before === undefined) continue
    const found = await new Walk(sb, ended).run()
    if (found === undefined) continue
    const difference = await barrier.alone(() => corrected(charges, before, found))
    if (difference) return difference
  }
  return undefined
}

function corrected(charges: Charges, before: number, found: Usage): Usage | undefined {
  const { quota } = charges
  if (!charges.idle || quota.changes !== before) return undefined
  const { bytes, files } = quota.state
  quota.correct(found)
  quota.doubtful = false
  return { bytes: found.bytes - bytes, files: found.files - files }
}

/** One walk through the upper and the index. */
class Walk {
  readonly #sb: SuperBlock
  readonly #ended: () => boolean
  /** Files with several names that were counted. */
  readonly #linked = new Set<number>()
  #bytes = 0
  #files = 0

  constructor(sb: SuperBlock, ended: () => boolean) {
    this.#sb = sb
    this.#ended = ended
  }

  /** Undefined if a directory disappeared, or the overlay is being unmounted. */
  async run(): Promise<Usage | undefined> {
    const { upper, indexDir, descriptors } = this.#sb
    try {
      if (upper) await this.#tree(upper)
      if (indexDir && !isAbsent(indexDir))
        await descriptors.run(async () => this.#entries(await descriptors.of(indexDir), () => undefined))
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE')) return undefined
      throw error
    }
    return this.#ended() ? undefined : { bytes: this.#bytes, files: this.#files }
  }

  async #tree({ root, marks }: Layer): Promise<void> {
    const { descriptors } = this.#sb
    const left: Place[] = [{ parent: undefined, name: '' }]
    for (let at = left.pop(); at && !this.#ended(); at = left.pop()) {
      const parent = at
      const fd = await descriptors.run(async () => openPlace(await descriptors.of(root), parent))
      try {
        await this.#entries(fd, (name, directory) => {
          if (marks.reserves(name)) return false
          if (!directory) return true
          this.#files++
          left.push({ parent, name })
          return false
        })
      } finally {
        closeSync(fd)
      }
    }
  }

  /** Counts the entries for which `counts` returns true; of the index (undefined) all that are no directories. */
  async #entries(fd: number, counts: (name: string, directory: boolean) => boolean | undefined): Promise<void> {
    let names: string[] = []
    for (const { name, type } of await readdirFd(fd)) {
      if (loopBudget.spent) await loopBudget.rest()
      const directory = type === FileType.directory
      if (!(counts(name, directory) ?? !directory)) continue
      names.push(name)
      if (names.length < AT_ONCE) continue
      await this.#count(fd, names)
      names = []
    }
    await this.#count(fd, names)
  }

  async #count(fd: number, names: readonly string[]): Promise<void> {
    for (const stat of await Promise.all(names.map((name) => statxAt(fd, name)))) this.#add(stat)
  }

  #add(stat: Stat): void {
    if (isWhiteoutDevice(stat)) return
    if (stat.nlink > 1) {
      if (this.#linked.has(stat.ino)) return
      this.#linked.add(stat.ino)
    }
    this.#files++
    if (stat.type === FileType.regular) this.#bytes += stat.size
  }
}

/** Opens a directory below `rootFd`, however deep it is. */
async function openPlace(rootFd: number, place: Place): Promise<number> {
  const names: string[] = []
  for (let at = place; at.parent; at = at.parent) names.push(at.name)
  let fd = await openAt(rootFd, '.', O_PATH | O_DIRECTORY)
  while (names.length > 0) {
    let path = names.pop() as string
    while (names.length > 0 && path.length + (names.at(-1) as string).length < PATH_BYTES) path += `/${names.pop()}`
    const above = fd
    try {
      fd = await openAt(above, path, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    } finally {
      closeSync(above)
    }
  }
  return fd
}
