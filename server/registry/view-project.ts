import { readdir, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  isErrno,
  limitProject,
  type MountOptions,
  type ProjectUsage,
  projectOf,
  projectUsage,
  type QuotaLimits,
  setProject,
} from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'

/** Ids from here on are chosen by the server; people use small ones. */
export const LEAST_ID = 2 ** 30
/** The number of ids. The kernel's type for them has 32 bits, but some programs take it as signed. */
const IDS = 2 ** 30
/** The magic number of xfs (statfs(2)). */
const XFS = 0x58465342

/** The project of a view: its upper and its workdir, to which the file system applies the limits. */
export class ViewProject {
  readonly id: number
  /** Whether the file system says ENOSPC where the project is full. */
  readonly saysNoSpace: boolean
  readonly #upper: string

  private constructor(id: number, upper: string, fileSystem: number) {
    this.id = id
    this.saysNoSpace = fileSystem === XFS
    this.#upper = upper
  }

  /**
   * Finds the project of a view, and applies the limits to it. A view that contains nothing yet gets one. Upper and workdir belong to the same one, because nothing can be moved
   * between projects.
   *
   * @param path `TEMPLATE/NAME`, for messages
   * @throws Error the view was filled without a project · OverlayError the file system has no project quotas, or the process may not set them
   */
  static async open(
    { upperdir = '', workdir = '' }: MountOptions,
    limits: QuotaLimits,
    { path, random }: { readonly path: string; readonly random: RandomBytes },
  ): Promise<ViewProject> {
    const [upper, work] = [await projectOf(upperdir), await projectOf(workdir)]
    let { id } = upper
    if (id < LEAST_ID || id !== work.id || !upper.inherited || !work.inherited) {
      const known = (await readdir(upperdir)).length + (await readdir(workdir)).length
      if (known > 0)
        throw new Error(
          `${path} was filled without a project of the file system, so its quota cannot apply; copy its files into a new view, or remove quota_by = "filesystem"`,
        )
      id = await unusedId(upperdir, random)
      await setProject(workdir, id)
      await setProject(upperdir, id)
    }
    const project = new ViewProject(id, upperdir, (await statfs(upperdir)).type)
    await project.limit(limits)
    return project
  }

  /** The project of a view that need not be open; undefined if it has none yet. */
  static async find({ upperdir = '' }: MountOptions): Promise<ViewProject | undefined> {
    const { id } = await projectOf(upperdir)
    return id < LEAST_ID ? undefined : new ViewProject(id, upperdir, (await statfs(upperdir)).type)
  }

  /** Applies other limits, which may be below the usage. */
  async limit(limits: QuotaLimits): Promise<void> {
    await limitProject(this.#upper, this.id, limits)
  }

  usage(): Promise<ProjectUsage> {
    return projectUsage(this.#upper, this.id)
  }

  /** Whether its limits leave less room than the disk does, which decides what a call has failed for that says "no space". */
  async isFull(): Promise<boolean> {
    const { bytes, files, hardBytes, hardFiles } = await this.usage()
    // The directory above belongs to no project of this server, so these are the figures of the disk.
    const { bavail, bsize, ffree } = await statfs(dirname(this.#upper))
    return hardBytes - bytes < bavail * bsize || hardFiles - files < ffree
  }

  /** Takes the limits away from a view that is about to be deleted, so that nothing of it stays. */
  async end(): Promise<void> {
    await limitProject(dirname(this.#upper), this.id, {}).catch((error: unknown) => {
      if (!isErrno(error)) throw error
    })
  }
}

async function unusedId(path: string, random: RandomBytes): Promise<number> {
  for (;;) {
    const id = LEAST_ID + (Buffer.from(random(4)).readUInt32LE(0) % IDS)
    const { bytes, files, hardBytes, hardFiles } = await projectUsage(path, id)
    if (bytes === 0 && files === 0 && hardBytes === Number.POSITIVE_INFINITY && hardFiles === Number.POSITIVE_INFINITY)
      return id
  }
}
