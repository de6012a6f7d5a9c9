import type { InDirectory } from '../base/log-file.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import type { Layer, Real } from '../layer/layer.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import type { RootDir, Roots } from './roots.ts'

/** How the logs of a mount reach the workdir: by a descriptor that stays open, or, after `release`, by one that is opened again when it is needed. */
export class WorkdirAccess {
  #now: InDirectory

  constructor({ work }: Roots) {
    this.#now = (use) => use((work as RootDir).fd)
  }

  /** Runs work in the workdir, at any time. */
  readonly within: InDirectory = (use) => this.#now(use)

  /** The workdir is reached by `workdir` from now on, whose descriptor may be closed. */
  moved(descriptors: Descriptors, workdir: Real): void {
    this.#now = (use) => descriptors.run(async () => use(await descriptors.of(workdir)))
  }

  /**
   * Lets the descriptors of upper and workdir be closed while nobody uses them, unless the format of the upper needs them. Returns the roots that are left
   * to the caller.
   */
  release({ descriptors, upper, work, intents, xattrStore }: SuperBlock, roots: Roots): Roots {
    const workdir = work?.parent
    // Attributes and intents in files find objects from the open roots.
    if (!upper || !workdir || !roots.upper || !roots.work || intents || xattrStore.byName) return roots
    this.moved(descriptors, workdir)
    descriptors.release((upper as Layer).root, roots.upper.path)
    descriptors.release(workdir, roots.work.path)
    return { ...roots, upper: { ...roots.upper, shared: true }, work: { ...roots.work, shared: true } }
  }
}
