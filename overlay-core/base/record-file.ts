import { fsync } from '../sys/data.ts'
import { renameAt } from '../sys/dir.ts'
import { O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } from '../sys/flags.ts'
import { closeLater, openAt } from '../sys/open.ts'
import { FreshFile } from './fresh-file.ts'
import { logFileNames, readOld, syncDirectory } from './log-file.ts'
import { HEADER_BYTES, hasHeader, scan } from './record-frame.ts'

/** Copies of the records of the file `name`; undefined if there is no file of `kind`, or it is longer than `mostBytes`. */
export async function readRecordFile(
  dirFd: number,
  name: string,
  kind: string,
  mostBytes: number,
): Promise<Buffer[] | undefined> {
  let records: Buffer[] | undefined
  await readOld(dirFd, name, async (fd, sizeBytes) => {
    if (sizeBytes > mostBytes || !(await hasHeader(fd, kind))) return
    const found: Buffer[] = []
    await scan(fd, HEADER_BYTES, sizeBytes, (record) => {
      found.push(Buffer.from(record))
    })
    records = found
  })
  return records
}

/**
 * Atomically replaces the file by one with these records; unless `durably`, a power loss before `syncRecordFile` may leave neither, so there must be no
 * such file.
 */
export async function writeRecordFile(
  dirFd: number,
  name: string,
  kind: string,
  records: readonly Uint8Array[],
  durably = true,
): Promise<void> {
  const [, newName = ''] = logFileNames(name)
  const fd = await openAt(dirFd, newName, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
  try {
    const file = new FreshFile(fd, kind)
    for (const record of records) file.add(record)
    await (durably ? file.sync() : file.flush())
  } finally {
    closeLater(fd)
  }
  await renameAt(dirFd, newName, dirFd, name)
  if (durably) await syncDirectory(dirFd)
}

/** Makes the file durable. */
export async function syncRecordFile(dirFd: number, name: string): Promise<void> {
  const fd = await openAt(dirFd, name, O_WRONLY | O_NOFOLLOW)
  try {
    await fsync(fd)
  } finally {
    closeLater(fd)
  }
  await syncDirectory(dirFd)
}
