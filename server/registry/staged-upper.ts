import { copyFile, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type MountOptions, mount, type Overlay } from '../../overlay-core/index.ts'
import { deleteTree } from './delete-tree.ts'

/** The names in the directory of a frozen layer: the upper that takes the place of the frozen one (`Overlay.freeze`), and the workdir with which it is made. */
const FRESH = 'fresh'
const WORK = 'fresh-work'
/** The beginning of the names of the files that keep the numbers of file systems in a workdir. */
const IDENTITY = 'identity'

/** Who makes the upper that takes the place of a frozen one. */
export interface StagedUpperParts {
  /** The directory of the layer that is about to be frozen. */
  readonly directory: string
  /** The options of the view. */
  readonly options: MountOptions
  /** The layers below the new upper, without those of the template, topmost first. */
  readonly frozen: readonly string[]
}

/**
 * Makes the upper that takes the place of a frozen one, and fills it by `fill` as an overlay on the layers that will be below it. It is durable then.
 *
 * @throws OverlayError · what `fill` throws
 */
export async function stageUpper<T>(
  { directory, options, frozen }: StagedUpperParts,
  fill: (stage: Overlay) => Promise<T>,
): Promise<T> {
  const [upperdir, workdir] = [join(directory, FRESH), join(directory, WORK)]
  await mkdir(upperdir, { mode: 0o700 })
  await mkdir(workdir, { mode: 0o700 })
  await copyIdentities(options.workdir as string, workdir)
  const lowerdir = [...frozen, ...options.lowerdir.slice(options.frozen ?? 0)]
  // Entries of its index would be lost with its workdir. The registry has claimed the directory of all views.
  const stage = await mount(
    { ...options, ...{ lowerdir, frozen: frozen.length, upperdir, workdir, index: false } },
    { claimed: true },
  )
  try {
    return await fill(stage)
  } finally {
    await stage.unmount()
    await deleteTree(workdir)
  }
}

/** What is made has the same identities in the view. */
async function copyIdentities(from: string, to: string): Promise<void> {
  for (const name of await readdir(from))
    if (name.startsWith(IDENTITY)) await copyFile(join(from, name), join(to, name))
}
