import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A real file system for uppers: most can do less than the kernel's overlay asks for, xfs more. */
export type StorageKind = 'ramfs' | 'tmpfs' | 'bindfs' | 'exfat' | 'ext2' | 'xfs'

/** A mounted storage. */
export interface MountedStorage {
  /** Where it is mounted. */
  readonly dir: string
  /** Unmounts and mounts again: nothing is left of it in memory. Not for those that live there. */
  cycle(): Promise<void>
  unmount(): Promise<void>
}

/** How a kind is mounted on `dir`, with `aside` for what it needs beside; resolves to what ends it. */
const MOUNTERS: Record<StorageKind, (dir: string, aside: string) => Promise<() => Promise<void>>> = {
  async ramfs(dir) {
    run('mount', '-t', 'ramfs', 'none', dir)
    return () => unmounted(dir)
  },
  async tmpfs(dir) {
    run('mount', '-t', 'tmpfs', '-o', 'size=8m,nr_inodes=2000', 'none', dir)
    return () => unmounted(dir)
  },
  async ext2(dir, aside) {
    const image = join(aside, 'image')
    if (!isMade(image)) {
      run('truncate', '-s', '32M', image)
      run('mke2fs', '-q', '-t', 'ext2', '-I', '128', image)
    }
    run('mount', '-o', 'loop', image, dir)
    return () => unmounted(dir)
  },
  async xfs(dir, aside) {
    const image = join(aside, 'image')
    if (!isMade(image)) {
      run('truncate', '-s', '320M', image)
      run('mkfs.xfs', '-q', '-m', 'reflink=1', image)
    }
    run('mount', '-o', 'loop', image, dir)
    return () => unmounted(dir)
  },
  async bindfs(dir, aside) {
    mkdirSync(join(aside, 'source'), { recursive: true })
    return await fuse(dir, ['bindfs', '-f', '--xattr-none', join(aside, 'source'), dir])
  },
  async exfat(dir, aside) {
    const image = join(aside, 'image')
    if (!isMade(image)) {
      run('truncate', '-s', '32M', image)
      run('mkfs.exfat', image)
    }
    const device = run('losetup', '-f', '--show', image).trim()
    const end = await fuse(dir, ['mount.exfat-fuse', '-d', device, dir])
    return async () => {
      await end()
      run('losetup', '-d', device)
    }
  },
}

/** Mounts a storage in a folder of its own below `parent`. */
export async function mountStorage(kind: StorageKind, parent = tmpdir()): Promise<MountedStorage> {
  const aside = mkdtempSync(join(parent, `overlayd-${kind}-`))
  const dir = join(aside, 'mounted')
  mkdirSync(dir)
  let end = await MOUNTERS[kind](dir, aside)
  return {
    dir,
    async cycle() {
      await end()
      end = await MOUNTERS[kind](dir, aside)
    },
    async unmount() {
      await end()
      rmSync(aside, { recursive: true })
    },
  }
}

/** Starts a file system in user space and waits until it is mounted; resolves to what unmounts it and waits for its end. */
export async function fuse(
  dir: string,
  [program, ...args]: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>> = {},
): Promise<() => Promise<void>> {
  const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, ...environment } })
  const ended = once(child, 'exit')
  while (!isMounted(dir)) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return async () => {
    await unmounted(dir)
    child.kill()
    await ended
  }
}

function isMounted(dir: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8').includes(` ${dir} `)
}

function isMade(image: string): boolean {
  try {
    return readFileSync(image).length > 0
  } catch {
    return false
  }
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Unmounts `dir`. Descriptors are closed by the thread pool, a moment after the overlay has let go of them. @throws Error it is still busy after ten seconds */
async function unmounted(dir: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      run('umount', dir)
      return
    } catch (error) {
      if (tries === 100 || !String((error as { stderr?: string }).stderr).includes('busy')) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
