import { fsync } from '../sys/data.ts'
import { renameAt } from '../sys/dir.ts'
import { O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } from '../sys/flags.ts'
import { placeFile } from '../sys/new-file.ts'
import { closeLater, openAt } from '../sys/open.ts'
import { FreshFile } from './fresh-file.ts'
import { logFileNames, readOld, syncDirectory } from './log-file.ts'
import { FrameBatch, HEADER_BYTES, hasHeader, headerOf, scan, seal } from './record-frame.ts'

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

/** Atomically and durably replaces the file by one with these records. */
export async function writeRecordFile(
  dirFd: number,
  name: string,
  kind: string,
  records: readonly Uint8Array[],
): Promise<void> {
  const [, newName = ''] = logFileNames(name)
  const fd = await openAt(dirFd, newName, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
  try {
    const file = new FreshFile(fd, kind)
    for (const record of records) file.add(record)
    await file.sync()
  } finally {
    closeLater(fd)
  }
  await renameAt(dirFd, newName, dirFd, name)
  await syncDirectory(dirFd)
}

/** Creates the file with a few small records, which must be absent: a power loss before `syncRecordFile` may undo that. */
export async function writeFirstRecordFile(
  dirFd: number,
  name: string,
  kind: string,
  records: readonly Uint8Array[],
): Promise<void> {
  const [, newName = ''] = logFileNames(name)
  const batch = new FrameBatch()
  batch.appendRaw(headerOf(kind))
  for (const record of records) batch.append(record)
  const content = batch.take()
  seal(content, 0)
  await placeFile(dirFd, newName, name, content)
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
