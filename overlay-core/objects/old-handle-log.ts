import { crc32 } from 'node:zlib'
import { bestEffort } from '../api/errno.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { pread } from '../sys/data.ts'
import type { HandleLog, HandleRecord } from './handle-log.ts'

/** The first bytes of a handle log of earlier versions. */
const MAGIC = Buffer.from('OVLHND01')
/** crc32 · name length (16 bits) · kind (8) · 0 (8) · key · generation (32) · directory key · previous offset, all little endian; then the name. */
const HEADER_BYTES = 36
const GONE = 2
const CHUNK_BYTES = 1024 * 1024

/** Copies the records of such a log, in the file `fd`, to `log`, up to the first torn one. */
export async function copyOldHandles(fd: number, sizeBytes: number, log: HandleLog): Promise<void> {
  const buffer = Buffer.alloc(CHUNK_BYTES)
  const start = buffer.subarray(0, await pread(fd, buffer, 0, MAGIC.length, 0))
  if (!start.equals(MAGIC)) return
  for (let position = MAGIC.length; ; ) {
    const read = await pread(fd, buffer, 0, Math.min(CHUNK_BYTES, sizeBytes - position), position)
    const taken = await copyRecords(buffer.subarray(0, read), log)
    if (taken === 0) return
    position += taken
    // Flushing bounds the memory. If there is a final sync, it reports errors.
    await bestEffort(() => log.flushed())
  }
}

/** Returns the length in bytes of the intact records at the start of `bytes`. */
async function copyRecords(bytes: Buffer, log: HandleLog): Promise<number> {
  for (let at = 0; ; ) {
    const record = decode(bytes, at)
    if (record === undefined) return at
    if (record.kind === GONE) log.remove(record.key, record.generation)
    else log.put(record)
    at += HEADER_BYTES + record.name.length
    if (loopBudget.spent) await loopBudget.rest()
  }
}

function decode(bytes: Buffer, at: number): (HandleRecord & { kind: number }) | undefined {
  if (at + HEADER_BYTES > bytes.length) return undefined
  const end = at + HEADER_BYTES + bytes.readUInt16LE(at + 4)
  if (end > bytes.length || crc32(bytes.subarray(at + 4, end)) !== bytes.readUInt32LE(at)) return undefined
  return {
    kind: bytes.readUInt16LE(at + 6),
    key: bytes.readDoubleLE(at + 8),
    generation: bytes.readUInt32LE(at + 16),
    dirKey: bytes.readDoubleLE(at + 20),
    name: bytes.toString('latin1', at + HEADER_BYTES, end),
  }
}
