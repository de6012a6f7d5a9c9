import type { Stat } from '../sys/stat.ts'

/** The link counts of the files on one file system that a squash gives further names. */
export interface LinkCounts {
  readonly devMajor: number
  readonly devMinor: number
  /** By inode number. */
  readonly counts: Map<number, number>
}

/** While a squash runs, its files have names in the old layers and in the merged one. */
const running = new Set<LinkCounts>()

/** Has the files of `counts` shown with these link counts, whatever is on disk, until the returned function is called. */
export function showLinks(counts: LinkCounts): () => void {
  running.add(counts)
  return () => running.delete(counts)
}

/** `stat` with the link count that the file has without the further names that a squash gives it. */
export function withTrueLinks(stat: Stat): Stat {
  if (running.size === 0 || stat.nlink < 2) return stat
  const nlink = trueLinks(stat)
  return nlink === stat.nlink ? stat : { ...stat, nlink }
}

/** The link count that the file has without the further names that a squash gives it. */
export function trueLinks(stat: Pick<Stat, 'nlink' | 'devMajor' | 'devMinor' | 'ino'>): number {
  if (running.size === 0 || stat.nlink < 2) return stat.nlink
  for (const { devMajor, devMinor, counts } of running) {
    const nlink = devMajor === stat.devMajor && devMinor === stat.devMinor ? counts.get(stat.ino) : undefined
    if (nlink !== undefined) return nlink
  }
  return stat.nlink
}
