import { OptionError } from '../api/params.ts'
import { liesIn, type Place } from '../sys/place.ts'
import type { RootDir } from './roots.ts'

/** A directory of a mount and the option that names it. */
export interface NamedRoot {
  readonly option: 'lowerdir' | 'datadir' | 'upperdir' | 'workdir'
  readonly dir: RootDir
}

/**
 * Checks that no directory is inside another one or given twice (ovl_check_overlapping_layers).
 *
 * @throws OptionError it is; the message names both
 */
export function needApart(all: readonly NamedRoot[]): void {
  needApartOnTheirFileSystem(all)
  for (const [i, inner] of all.entries()) {
    for (const [j, outer] of all.entries()) {
      // Lowers that were checked before are not compared with each other again.
      if (i !== j && !(inner.dir.shared && outer.dir.shared)) compare(inner, outer, i > j)
    }
  }
}

function compare(inner: NamedRoot, outer: NamedRoot, isLater: boolean): void {
  const { given, path } = inner.dir
  const same = path === outer.dir.path
  if (same && inner.option === outer.option) {
    if (isLater) throw new OptionError(inner.option, `'${given}' is given twice; use each directory once`)
    return
  }
  if (same) throw new OptionError(inner.option, `'${given}' is also the ${outer.option}; use different directories`)
  if (isAtOrBelow(path, outer.dir.path)) {
    throw new OptionError(
      inner.option,
      `'${given}' is inside the ${outer.option} '${outer.dir.given}'; use separate directories`,
    )
  }
}

/** Like `needApart` for upper and workdir against the lowers, but also detects bind mounts that lead to the same place by another path. */
function needApartOnTheirFileSystem(all: readonly NamedRoot[]): void {
  const isOwn = ({ option }: NamedRoot) => option === 'upperdir' || option === 'workdir'
  const lowers = all.filter((root) => !isOwn(root))
  for (const { option, dir } of all.filter(isOwn)) {
    for (const lower of lowers) {
      // Overlaps that the paths show have their own message.
      if (isAtOrBelow(lower.dir.path, dir.path) || isAtOrBelow(dir.path, lower.dir.path)) continue
      if (!overlap(dir.places, lower.dir.places)) continue
      throw new OptionError(
        option,
        `a bind mount makes '${dir.given}' the same directory as the ${lower.option} '${lower.dir.given}', or nests one in the other; use separate directories`,
      )
    }
  }
}

function overlap(one: readonly Place[], other: readonly Place[]): boolean {
  return liesIn(one, other, false) || liesIn(other, one, false)
}

function isAtOrBelow(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer === '/' ? '/' : `${outer}/`)
}
