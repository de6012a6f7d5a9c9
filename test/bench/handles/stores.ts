import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { HandleFile } from '../../../overlay-core/objects/handle-file.ts'
import type { HandleRecord } from '../../../overlay-core/objects/handle-log.ts'
import { O_PATH } from '../../../overlay-core/sys/flags.ts'
import { nameToHandle, openByHandle } from '../../../overlay-core/sys/handle.ts'
import { closeSync, openRoot } from '../../../overlay-core/sys/open.ts'

/** A way to find an object again by what its handle says. */
export interface Store {
  readonly name: string
  /** Makes sure that these would be found after the death of the process. */
  remember(records: readonly HandleRecord[]): Promise<void>
  /** Whether the object is known already: what a listing of known objects costs. */
  knows(record: HandleRecord): boolean
  /** Where the object is. */
  find(record: HandleRecord): Promise<boolean>
  forget(records: readonly HandleRecord[]): Promise<void>
  /** Gives back the space of what was forgotten. */
  shrink(): Promise<void>
  diskBytes(): number
}

/** What overlayd does: identity of the object, and a log of where it was last seen. */
export async function logStore(folder: string): Promise<Store> {
  const { log } = await HandleFile.in(await openRoot(folder))
  return {
    name: 'log of places',
    async remember(records) {
      for (const record of records) if (!log.has(record.key, record.generation)) log.put(record)
      await log.flushed()
    },
    knows: ({ key, generation }) => log.has(key, generation),
    find: async ({ key }) => (await log.find(key)).length > 0,
    async forget(records) {
      for (const { key, generation } of records) log.remove(key, generation)
      await log.flushed()
    },
    async shrink() {
      await log.compact()
    },
    diskBytes: () => log.usage.bytes,
  }
}

/** node:sqlite with a write-ahead log that is not synced: as safe as the log of places. */
export function sqliteStore(folder: string): Store {
  const path = join(folder, 'sqlite')
  const db = new DatabaseSync(path)
  db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL')
  db.exec('CREATE TABLE handle(key INTEGER PRIMARY KEY, generation INTEGER, dir INTEGER, name BLOB) WITHOUT ROWID')
  const put = db.prepare('INSERT OR REPLACE INTO handle VALUES(?,?,?,?)')
  const get = db.prepare('SELECT dir, name FROM handle WHERE key=?')
  const remove = db.prepare('DELETE FROM handle WHERE key=?')
  const together = (work: () => void): void => {
    db.exec('BEGIN')
    work()
    db.exec('COMMIT')
  }
  const find = (statement: StatementSync, key: number) => statement.get(key) !== undefined
  return {
    name: 'node:sqlite',
    async remember(records) {
      together(() => {
        for (const { key, generation, dirKey, name } of records) put.run(key, generation, dirKey, Buffer.from(name))
      })
    },
    knows: ({ key }) => find(get, key),
    find: async ({ key }) => find(get, key),
    async forget(records) {
      together(() => {
        for (const { key } of records) remove.run(key)
      })
    },
    async shrink() {
      db.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)')
    },
    diskBytes: () => [path, `${path}-wal`].reduce((sum, file) => sum + (existsSync(file) ? statSync(file).size : 0), 0),
  }
}

/** As much of the package `lmdb` as is used here. */
interface Lmdb {
  open(options: object): {
    put(key: number, value: Uint8Array): Promise<boolean>
    remove(key: number): Promise<boolean>
    getBinaryFast(key: number): Uint8Array | undefined
    doesExist(key: number): boolean
    close(): Promise<void>
  }
}

/**
 * LMDB, written without fsync: as safe as the log of places. Undefined where the package `lmdb` is not to be had: it is no dependency of this project
 * (`npm install --no-save lmdb`, or a folder that has it in the environment variable LMDB).
 */
export async function lmdbStore(folder: string): Promise<Store | undefined> {
  const path = join(folder, 'lmdb')
  let lmdb: Lmdb
  try {
    lmdb = (await import(process.env.LMDB ?? 'lmdb')) as Lmdb
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
  const db = lmdb.open({ path, encoding: 'binary', keyEncoding: 'ordered-binary', noSync: true })
  return {
    name: 'lmdb',
    async remember(records) {
      const written = records.map(({ key, generation, dirKey, name }) => {
        const value = Buffer.alloc(12 + name.length)
        value.writeDoubleLE(dirKey)
        value.writeUInt32LE(generation, 8)
        value.write(name, 12, 'latin1')
        return db.put(key, value)
      })
      await Promise.all(written)
    },
    knows: ({ key }) => db.doesExist(key),
    find: async ({ key }) => db.getBinaryFast(key) !== undefined,
    async forget(records) {
      await Promise.all(records.map(({ key }) => db.remove(key)))
    },
    // Pages that are free are used again, but never given back.
    shrink: async () => undefined,
    diskBytes: () => statSync(join(path, 'data.mdb')).size,
  }
}

/** Handles of the kernel: nothing to remember, but only for root, and not the same after a copy-up. `folder` holds the files. */
export async function kernelStore(folder: string): Promise<Store> {
  const dirFd = await openRoot(folder)
  const known = new Map<number, { type: number; bytes: Uint8Array }>()
  return {
    name: 'kernel handles',
    async remember(records) {
      await Promise.all(
        records.map(async ({ key, name }) => {
          const handle = await nameToHandle(dirFd, name)
          if (handle) known.set(key, handle)
        }),
      )
    },
    knows: ({ key }) => known.has(key),
    async find({ key }) {
      const handle = known.get(key)
      if (handle === undefined) return false
      closeSync(await openByHandle(dirFd, handle.type, handle.bytes, O_PATH))
      return true
    },
    forget: async () => undefined,
    shrink: async () => undefined,
    diskBytes: () => 0,
  }
}
