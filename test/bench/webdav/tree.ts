import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chown, mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BIG_MIB, LIST_ENTRIES, SMALL_BYTES } from './scenarios.ts'

/** The user that every server of the comparison acts as: Debian's `www-data`. */
export const SERVED_AS = 33

const DIRECTORIES = 100
const FILES = 100

/**
 * Makes the lower tree that all servers show: `/list/` with 1,000 files, `/files/dNN/fNN`, 10,000 of 4 KiB, and `/big`. One that is
 * there already is kept.
 */
export async function makeTree(lower: string): Promise<void> {
  const complete = join(lower, '..', 'complete')
  if (existsSync(complete)) return
  await ownDirectory(lower)
  const content = randomBytes(SMALL_BYTES)
  await ownDirectory(join(lower, 'list'))
  for (let i = 0; i < LIST_ENTRIES; i++) {
    await ownFile(join(lower, 'list', `entry number ${String(i).padStart(4, '0')}.txt`), content)
  }
  for (let d = 0; d < DIRECTORIES; d++) {
    const directory = join(lower, 'files', `d${twoDigits(d)}`)
    await mkdir(directory, { recursive: true })
    await chown(directory, SERVED_AS, SERVED_AS)
    for (let f = 0; f < FILES; f++) await ownFile(join(directory, `f${twoDigits(f)}`), content)
  }
  await chown(join(lower, 'files'), SERVED_AS, SERVED_AS)
  await makeBig(join(lower, 'big'))
  await writeFile(complete, '')
}

function twoDigits(n: number): string {
  return String(n).padStart(2, '0')
}

/** Makes a directory of the served user. */
export async function ownDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
  await chown(path, SERVED_AS, SERVED_AS)
}

async function ownFile(path: string, content: Buffer): Promise<void> {
  await writeFile(path, content)
  await chown(path, SERVED_AS, SERVED_AS)
}

async function makeBig(path: string): Promise<void> {
  const block = randomBytes(1024 * 1024)
  const file = await open(path, 'w')
  try {
    for (let i = 0; i < BIG_MIB; i++) {
      block.writeUInt32LE(i)
      await file.write(block)
    }
    await file.chown(SERVED_AS, SERVED_AS)
  } finally {
    await file.close()
  }
}
