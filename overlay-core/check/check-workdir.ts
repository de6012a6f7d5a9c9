import { FileType, type Name } from '../api/types.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import { isWhiteoutDevice } from '../layer/whiteout.ts'
import { INDEX } from '../lookup/hardlink.ts'
import { indexNameOf, originIsWellFormed } from '../lookup/origin.ts'
import { PROTOCOL_DATA_DIRECTORY } from '../sidecar/protocol-data-store.ts'
import { readdirFd, unlinkAt } from '../sys/dir.ts'
import { ABSENT, closeSync } from '../sys/open.ts'
import { statxAt } from '../sys/stat.ts'
import { getXattr } from '../sys/xattr.ts'
import { openInside } from './check-layers.ts'
import type { KnownObjects } from './check-upper.ts'
import { type Finding, finding, type Report } from './finding.ts'

/** Checks what a workdir keeps about its upper: the index of hard links, large protocol data, leftovers. */
export async function* checkWorkdir(
  names: XattrNames,
  workdirFd: number,
  known: KnownObjects,
): AsyncGenerator<Finding> {
  yield* inside(workdirFd, 'work', leftovers)
  yield* inside(workdirFd, INDEX, (fd) => index(names, fd))
  const stored = new Set<string>()
  yield* inside(workdirFd, PROTOCOL_DATA_DIRECTORY, (fd) => notes(fd, known, stored))
  for (const [key, { path, attr }] of known.notes)
    if (!stored.has(key))
      yield finding({
        ...{ code: 'protocol-data-missing', severity: 'error', where: 'upper', path },
        what: `${attr} refers to data that is not in the workdir; it is read as if there were none`,
      })
}

async function* inside(
  workdirFd: number,
  name: Name,
  check: (fd: number) => AsyncGenerator<Finding>,
): AsyncGenerator<Finding> {
  const fd = await openInside(workdirFd, name)
  if (fd === ABSENT) return
  try {
    yield* check(fd)
  } finally {
    closeSync(fd)
  }
}

async function* leftovers(workFd: number): AsyncGenerator<Finding> {
  for (const { name } of await readdirFd(workFd)) {
    if (name === 'incompat') yield* await incompatible(workFd)
    // The kernel keeps a whiteout there, which it gives further names.
    else if (!isWhiteoutDevice(await statxAt(workFd, name)))
      yield warning({
        code: 'work-leftover',
        path: ['work', name],
        what: 'was left by an interrupted change; the next mount removes it',
      })
  }
}

async function incompatible(workFd: number): Promise<Finding[]> {
  const fd = await openInside(workFd, 'incompat')
  if (fd === ABSENT) return []
  try {
    return (await readdirFd(fd)).map(({ name }) =>
      finding({
        ...{ code: 'incompat', severity: 'error', where: 'workdir', path: ['work', 'incompat', name] },
        what:
          name === 'volatile'
            ? 'the overlay was volatile and did not end cleanly, so files may be incomplete; nothing mounts it before this mark is removed'
            : `says that the overlay used the feature ${name}, which is not known here`,
      }),
    )
  } finally {
    closeSync(fd)
  }
}

async function* index(names: XattrNames, fd: number): AsyncGenerator<Finding> {
  for (const { name } of await readdirFd(fd)) {
    const path = [INDEX, name]
    const { type, nlink } = await statxAt(fd, name)
    // These belong to the kernel's NFS export.
    if (type === FileType.directory || type === FileType.character) continue
    const remove: Report['mend'] = ['remove the entry', async () => void (await unlinkAt(fd, name))]
    if (!/^([0-9a-f]{2})+$/.test(name)) {
      yield error({
        code: 'index-name',
        path,
        what: 'is no name of an index entry (a file handle in hexadecimal digits)',
        mend: remove,
      })
      continue
    }
    const origin = await getXattr(fd, name, names.origin)
    if (origin === undefined || !originIsWellFormed(origin))
      yield error({ code: 'index-origin-missing', path, what: 'does not say of which lower file it is the copy' })
    else if (indexNameOf(origin) !== name)
      yield error({
        code: 'index-origin-differs',
        path,
        what: 'is the copy of another lower file than its name says, so hard links show a wrong content',
      })
    if (nlink === 1)
      yield warning({
        code: 'index-orphan',
        path,
        what: 'belongs to a file that has no name left; the next mount removes it, and until then it needs space',
        mend: remove,
      })
  }
}

async function* notes(fd: number, known: KnownObjects, stored: Set<string>): AsyncGenerator<Finding> {
  for (const { name } of await readdirFd(fd)) {
    const [, slot, id] = /^[0-9a-z]+\.([\w-]+)\.([0-9a-f]{16})$/.exec(name) ?? []
    const key = `${slot}.${id}`
    if (slot !== undefined) stored.add(key)
    if (slot !== undefined && known.notes.has(key)) continue
    yield warning({
      code: 'protocol-data-orphan',
      path: [PROTOCOL_DATA_DIRECTORY, name],
      what: 'is protocol data that no object of the upper refers to; frozen layers may',
    })
  }
}

function error(report: Omit<Report, 'severity' | 'where'>): Finding {
  return finding({ ...report, severity: 'error', where: 'workdir' })
}

function warning(report: Omit<Report, 'severity' | 'where'>): Finding {
  return finding({ ...report, severity: 'warning', where: 'workdir' })
}
