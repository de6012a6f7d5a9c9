import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { type Handle, NfsClient } from '../helpers/nfs-client.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'

t.setTimeout(300_000)

const MiB = 1024 * 1024
const FULL = new Set([0, 28])
const scratch = makeScratch(t)

/** A server whose upper is alone on an ext4 of 48 MiB, and a client of each door. */
async function small() {
  const disk = join(scratch.path, 'disk')
  const image = join(scratch.path, 'image')
  mkdirSync(disk)
  execFileSync('truncate', ['-s', '48M', image])
  execFileSync('mkfs.ext4', ['-q', '-m', '0', '-N', '256', image])
  execFileSync('mount', ['-o', 'loop,noatime', image, disk])
  scratch.defer(() => scratch.sh(`umount ${disk}`).then(() => undefined))
  for (const name of ['lower', 'upper', 'work']) mkdirSync(join(disk, name))
  const layers = { lowerdir: [join(disk, 'lower')], upperdir: join(disk, 'upper'), workdir: join(disk, 'work') }
  const overlayd = await startOverlayd(scratch, layers)
  const nfs = await NfsClient.connect(overlayd.nfs.port)
  scratch.defer(() => nfs.close())
  const root = await nfs.mount(overlayd.nfs.export)
  const dav = (method: string, name: string, options: RequestInit = {}) =>
    fetch(`${overlayd.webdavUrl}${name}`, { method, ...options })
  return {
    nfs,
    root,
    dav,
    /** Free bytes of the disk. */
    free: () => {
      const { bavail, bsize } = statfsSync(disk)
      return bavail * bsize
    },
    put: async (name: string, bytes: number) => (await dav('PUT', name, { body: randomBytes(bytes) })).status,
    get: async (name: string) => (await (await dav('GET', name)).arrayBuffer()).byteLength,
  }
}

type Small = Awaited<ReturnType<typeof small>>

/** Writes a new file, unstable, until the disk is full, and returns its handle. */
async function fill({ nfs, root, free }: Small, name: string): Promise<Handle> {
  const file = (await nfs.create(root, name)).handle!
  for (let at = 0; ; at += MiB) {
    const { status } = await nfs.write(file, at, Buffer.alloc(MiB, 7), 0)
    if (!FULL.has(status)) throw new Error(`WRITE: ${status}`)
    if (status !== 0) break
  }
  if (free() > 2 * MiB) throw new Error(`${free()} bytes are free`)
  return file
}

t.test('what is removed from a full disk is free before the answer', async (t) => {
  const all = await small()
  const { nfs, root, dav, free, put, get } = all
  const empty = free()
  const isBack = (what: string) => t.ok(free() > empty - 2 * MiB, `${what}: ${free()} of ${empty} bytes are free`)
  const writes = async () => {
    const made = (await nfs.create(root, 'next')).handle!
    t.equal((await nfs.write(made, 0, Buffer.alloc(MiB, 1))).status, 0, 'the next WRITE')
    t.equal((await nfs.remove(root, 'next')).status, 0)
  }

  const file = await fill(all, 'f')
  t.equal((await nfs.remove(root, 'f')).status, 0)
  isBack('REMOVE of a file that was written')
  t.equal((await nfs.getattr(file)).status, 70, 'its handle is stale')
  await writes()
  t.equal(await put('next', 20 * MiB), 201, 'the next PUT')
  t.equal((await nfs.remove(root, 'next')).status, 0)

  await fill(all, 'f')
  t.ok((await get('f')) > 30 * MiB)
  t.equal((await dav('DELETE', 'f')).status, 204)
  isBack('DELETE of a file that was read')
  t.equal(await put('next', 20 * MiB), 201, 'the next PUT')
  await nfs.remove(root, 'next')

  await fill(all, 'f')
  await get('f')
  t.equal((await nfs.create(root, 'small')).status, 0)
  t.equal((await nfs.rename(root, 'small', root, 'f')).status, 0)
  isBack('RENAME over it')
  await writes()
  await nfs.remove(root, 'f')

  const linked = await fill(all, 'f')
  t.equal((await nfs.link(linked, root, 'again')).status, 0)
  t.equal((await nfs.remove(root, 'f')).status, 0)
  t.ok(free() < 2 * MiB, 'the other name keeps it')
  t.equal((await nfs.read(linked, 0, 1)).status, 0)
  t.equal((await nfs.remove(root, 'again')).status, 0)
  isBack('REMOVE of its last name')
  await writes()

  t.equal(await put('f', 10 * MiB), 201)
  t.equal(await put('f', 20 * MiB), 204)
  t.equal((await dav('DELETE', 'f')).status, 204)
  isBack('DELETE of a file that has just replaced another one')

  t.equal(await put('f', 30 * MiB), 201)
  const download = await dav('GET', 'f')
  const reader = download.body!.getReader()
  await reader.read()
  t.equal((await dav('DELETE', 'f')).status, 204)
  t.ok(free() < empty - 20 * MiB, 'a download in progress keeps it')
  await reader.cancel()
  while (free() < empty - 2 * MiB) await pause(50)
  t.pass('and lets it go at its end')
})
