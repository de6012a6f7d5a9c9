import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

/** The records of a file of records, by its documented form: header of 16 bytes, then crc32, length and content of each. */
export function recordsIn(path: string): Buffer[] {
  const bytes = readFileSync(path)
  const records: Buffer[] = []
  for (let at = 16; at + 8 <= bytes.length; ) {
    const end = at + 8 + bytes.readUInt32LE(at + 4)
    if (end > bytes.length || crc32(bytes.subarray(at + 4, end), at) !== bytes.readUInt32LE(at)) break
    records.push(Buffer.from(bytes.subarray(at + 8, end)))
    at = end
  }
  return records
}

/** Gives the files of a workdir, or of a directory of handles, which nobody uses, the forms that earlier versions wrote. */
export function toOldForm(directory: string): void {
  const turn = (name: string, oldName: string, form: (records: readonly Buffer[]) => Buffer) => {
    const path = join(directory, name)
    if (!existsSync(path)) return
    writeFileSync(join(directory, oldName), form(recordsIn(path)))
    rmSync(path)
  }
  turn('handles.log', 'handles', oldHandles)
  turn('attributes.log', 'attributes', oldLines)
  turn('intents.log', 'steps', oldLines)
  turn('identity.log', 'identity', (records) => Buffer.concat([...records.slice(-1), Buffer.from('\n')]))
}

function oldLines(records: readonly Buffer[]): Buffer {
  return Buffer.concat(records.flatMap((record) => [Buffer.from('\n'), record, Buffer.from('\n')]))
}

function oldHandles(records: readonly Buffer[]): Buffer {
  const places = new Map<number, number>()
  const parts = [Buffer.from('OVLHND01')]
  let at = 8
  for (const record of records) {
    const key = record.readDoubleLE(0)
    const name = record.subarray(29)
    const old = Buffer.alloc(36 + name.length)
    old.writeUInt16LE(name.length, 4)
    old.writeUInt16LE(record[28]!, 6)
    old.writeDoubleLE(key, 8)
    old.writeUInt32LE(record.readUInt32LE(24), 16)
    record.copy(old, 20, 8, 16)
    old.writeDoubleLE(places.get(key) ?? 0, 28)
    name.copy(old, 36)
    old.writeUInt32LE(crc32(old.subarray(4)), 0)
    places.set(key, at)
    parts.push(old)
    at += old.length
  }
  return Buffer.concat(parts)
}
