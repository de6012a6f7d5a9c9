import { createHash } from 'node:crypto'
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { OptionError, type TreeItem, TreeWriter } from '../../overlay-core/index.ts'
import { deleteTree } from '../registry/delete-tree.ts'
import { asideName, sync } from '../whole-file.ts'
import type { LayerIdentity } from './layer-digest.ts'

/** Writes a file that was not there, mode 0600. It appears when it is whole and on disk. @throws OptionError naming `to` */
export async function exportFile(to: string, pieces: AsyncIterable<Uint8Array>): Promise<LayerIdentity> {
  await refusePresent(to)
  return await beside(to, async (aside) => {
    const hash = createHash('sha256')
    let tarBytes = 0
    const file = await open(aside, 'wx', 0o600)
    try {
      for await (const piece of pieces) {
        hash.update(piece)
        tarBytes += piece.length
        await file.writeFile(piece)
      }
      await file.sync()
    } finally {
      await file.close()
    }
    return { digest: `sha256:${hash.digest('hex')}`, tarBytes }
  })
}

/** Writes a directory that was not there, in the form of an upper of the kernel's overlay. @throws OptionError naming `to` */
export async function exportDirectory(to: string, items: AsyncIterable<TreeItem>): Promise<void> {
  await refusePresent(to)
  await beside(to, async (aside) => {
    await mkdir(aside, { mode: 0o700 })
    const writer = await TreeWriter.open(aside)
    try {
      for await (const item of items) await writer.add(item)
      await writer.finish()
    } finally {
      writer.close()
    }
  })
}

async function beside<T>(to: string, write: (aside: string) => Promise<T>): Promise<T> {
  const aside = asideName(to)
  try {
    const result = await write(aside)
    await rename(aside, to)
    await sync(dirname(to))
    return result
  } catch (error) {
    await deleteTree(aside)
    await rm(aside, { force: true })
    throw targetError(to, error)
  }
}

async function refusePresent(to: string): Promise<void> {
  if (!to.startsWith('/'))
    throw new OptionError('to', `${JSON.stringify(to)} is not an absolute path; start it with a slash`)
  const there = await lstat(to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw targetError(to, error)
    },
  )
  if (there) throw new OptionError('to', `${to} exists; remove it, or choose another name`)
}

function targetError(to: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (error instanceof OptionError || code === undefined) return error
  return new OptionError('to', `${to} cannot be written (${code}); choose another place`)
}
