import { basename, dirname } from 'node:path'
import { bestEffort } from '../api/errno.ts'
import { INDEX } from '../lookup/hardlink.ts'
import { renameAt, rmdirAt } from '../sys/dir.ts'
import { O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { ABSENT, closeSync, openIfThere, openRoot } from '../sys/open.ts'

/** The names in the directory of a frozen layer: the layer, its index of hard links, and, before the freeze, the upper that takes its place. */
export const FROZEN_UPPER = 'upper'
export const FROZEN_INDEX = 'index'
export const FRESH_UPPER = 'fresh'
/** The index of hard links of a prepared upper. */
export const FRESH_INDEX = 'fresh-index'

/** Where a freeze moves what. */
export interface FreezePaths {
  readonly upperdir: string
  readonly workdir: string
  /** The directory of the frozen layer. */
  readonly directory: string
}

/** The open directories in which a freeze renames. */
export interface FreezeSite {
  /** The parent of the upper, and the name of the upper in it. */
  readonly homeFd: number
  readonly upperName: string
  readonly workdirFd: number
  /** The directory of the frozen layer. */
  readonly layerFd: number
}

/** Opens the directories of a freeze; `opened` closes them. */
export async function openSite(
  { upperdir, workdir, directory }: FreezePaths,
  opened: DisposableStack,
): Promise<FreezeSite> {
  const open = async (path: string) => {
    const fd = await openRoot(path)
    opened.defer(() => closeSync(fd))
    return fd
  }
  return {
    homeFd: await open(dirname(upperdir)),
    upperName: basename(upperdir),
    workdirFd: await open(workdir),
    layerFd: await open(directory),
  }
}

/**
 * Makes the upper a frozen layer, and the prepared directory the upper. The rename of the upper decides whether a crash undoes the freeze or finishes it
 * (`settleFreeze`). After an error everything is as before.
 */
export async function moveUpper(site: FreezeSite, withIndex: boolean): Promise<void> {
  const { homeFd, upperName, workdirFd, layerFd } = site
  await using undo = new AsyncDisposableStack()
  if (withIndex) {
    await renameAt(workdirFd, INDEX, layerFd, FROZEN_INDEX)
    undo.defer(() => bestEffort(() => renameAt(layerFd, FROZEN_INDEX, workdirFd, INDEX)))
  }
  await renameAt(homeFd, upperName, layerFd, FROZEN_UPPER)
  undo.defer(() => bestEffort(() => renameAt(layerFd, FROZEN_UPPER, homeFd, upperName)))
  await renameAt(layerFd, FRESH_UPPER, homeFd, upperName)
  undo.defer(() => bestEffort(() => renameAt(homeFd, upperName, layerFd, FRESH_UPPER)))
  await moveFreshIndex(site)
  undo.move()
}

/** Gives a prepared upper its index. */
async function moveFreshIndex({ workdirFd, layerFd }: FreezeSite): Promise<void> {
  if ((await isThere(layerFd, FRESH_INDEX)) && !(await isThere(workdirFd, INDEX)))
    await renameAt(layerFd, FRESH_INDEX, workdirFd, INDEX)
}

/**
 * Finishes or undoes a freeze that a crash has interrupted. To be called before the next mount, for each directory that may have been passed to `Overlay.freeze`.
 *
 * @returns whether the upper was frozen; if not, `directory` contains nothing that belongs to the overlay
 */
export async function settleFreeze(paths: FreezePaths): Promise<boolean> {
  using opened = new DisposableStack()
  const site = await openSite(paths, opened)
  const { homeFd, upperName, workdirFd, layerFd } = site
  if (await isThere(layerFd, FROZEN_UPPER)) {
    const isFresh = await isThere(layerFd, FRESH_UPPER)
    if (isFresh && !(await isThere(homeFd, upperName))) await renameAt(layerFd, FRESH_UPPER, homeFd, upperName)
    await moveFreshIndex(site)
    return true
  }
  if ((await isThere(layerFd, FROZEN_INDEX)) && !(await isThere(workdirFd, INDEX)))
    await renameAt(layerFd, FROZEN_INDEX, workdirFd, INDEX)
  // A prepared one contains something; it goes with the directory.
  if (await isThere(layerFd, FRESH_UPPER)) await bestEffort(() => rmdirAt(layerFd, FRESH_UPPER))
  return false
}

async function isThere(dirFd: number, name: string): Promise<boolean> {
  const fd = await openIfThere(dirFd, name, O_PATH | O_NOFOLLOW)
  if (fd === ABSENT) return false
  closeSync(fd)
  return true
}
