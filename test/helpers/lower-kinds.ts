import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fuse } from './storage.ts'

/** What ends a mount. */
export type End = () => Promise<void>

/** A file system for lowers. */
export interface LowerKind {
  readonly name: string
  /** Packs the tree `source` into `image`. `uuid` is what copies of one image share, where the file system has such; default: one of its own. */
  make(source: string, image: string, uuid?: string): Promise<void> | void
  /** Mounts what `make` has made. */
  mount(image: string, dir: string): Promise<End>
  /** It has a UUID that `make` can set. */
  readonly hasUuid: boolean
  /** Two images of it with one UUID can be mounted together. */
  readonly clones: boolean
  /** Nothing can be copied up from it, here and in the kernel, as it answers EIO when it is asked for extended attributes. */
  readonly failsCopyUp?: boolean
  /** Why it is not what the kernel itself has, if so. */
  readonly stead?: string
}

const SQUASHFS = ['-quiet', '-no-progress', '-all-root']

/** All kinds, those in user space last. */
export function lowerKinds(): readonly LowerKind[] {
  return [
    disk('ext4', '4M', (source, image, uuid) => run('mke2fs', '-q', ...given('-U', uuid), '-d', source, image)),
    {
      ...disk(
        'xfs',
        '300M',
        (_, image, uuid) => run('mkfs.xfs', '-q', ...(uuid ? ['-m', `uuid=${uuid}`] : []), image),
        'nouuid',
      ),
      make: async (source, image, uuid) => {
        run('truncate', '-s', '300M', image)
        run('mkfs.xfs', '-q', ...(uuid ? ['-m', `uuid=${uuid}`] : []), image)
        await fill(image, source, 'nouuid')
      },
    },
    {
      ...disk('btrfs', '109M', (source, image, uuid) =>
        run('mkfs.btrfs', '-q', ...given('-U', uuid), '--rootdir', source, image),
      ),
    },
    subvolumes(),
    image('squashfs', false, (source, file) => run('mksquashfs', source, file, ...SQUASHFS)),
    image('erofs', true, (source, file, uuid) =>
      run('mkfs.erofs', '--quiet', ...(uuid ? ['-U', uuid] : []), file, source),
    ),
    iso9660(),
    inMemory(),
    overlayAsLower(),
    ...inUserSpace(),
  ]
}

function disk(
  name: string,
  size: string,
  format: (source: string, image: string, uuid: string | undefined) => void,
  options = 'defaults',
): LowerKind {
  return {
    name,
    hasUuid: true,
    clones: true,
    make(source, image, uuid) {
      run('truncate', '-s', size, image)
      format(source, image, uuid)
    },
    mount: (image, dir) => mountLoop(image, dir, options),
  }
}

function image(
  name: string,
  hasUuid: boolean,
  pack: (source: string, file: string, uuid: string | undefined) => void,
): LowerKind {
  return { name, hasUuid, clones: true, make: pack, mount: (file, dir) => mountLoop(file, dir, 'ro') }
}

function iso9660(): LowerKind {
  const make = (source: string, file: string) => run('genisoimage', '-quiet', '-R', '-o', file, source)
  if (/\biso9660$/m.test(readFileSync('/proc/filesystems', 'utf8'))) return image('iso9660', false, make)
  return {
    name: 'iso9660',
    hasUuid: false,
    clones: true,
    make,
    mount: (file, dir) => fuse(dir, ['fuseiso', file, dir, '-f']),
    stead: 'this kernel has no iso9660: fuseiso stands in for it',
  }
}

/**
 * Subvolumes of one btrfs, each with the same inode numbers as the others. A later version of a tree is a snapshot of it in which files were exchanged, so
 * that what was not touched has the same numbers and times of birth.
 */
function subvolumes(): LowerKind {
  const poolOf = (image: string) => join(dirname(image), 'pool')
  return {
    name: 'btrfs-subvolumes',
    hasUuid: false,
    clones: true,
    async make(source, image) {
      const pool = poolOf(image)
      if (!existsSync(pool)) {
        run('truncate', '-s', '109M', pool)
        run('mkfs.btrfs', '-q', pool)
      }
      await within(pool, (dir) => {
        const [made, before] = [join(dir, basename(image)), join(dir, 'a')]
        if (basename(image) === 'c' && existsSync(before)) {
          run('btrfs', 'subvolume', 'snapshot', before, made)
          for (const name of names(made))
            if (name !== 'd' && differ(join(source, name), join(made, name))) rmSync(join(made, name))
          run('cp', '-a', '-n', `${source}/.`, made)
        } else {
          run('btrfs', 'subvolume', 'create', made)
          run('cp', '-a', `${source}/.`, made)
        }
      })
    },
    mount: (image, dir) => mountLoop(poolOf(image), dir, `subvol=${basename(image)}`),
  }
}

function differ(source: string, file: string): boolean {
  return !existsSync(source) || !readFileSync(source).equals(readFileSync(file))
}

/** What lies in memory goes when it is unmounted: it is filled anew at every mount. */
function inMemory(): LowerKind {
  return {
    name: 'tmpfs',
    hasUuid: false,
    clones: false,
    make: (source, image) => writeFileSync(image, source),
    async mount(image, dir) {
      run('mount', '-t', 'tmpfs', 'none', dir)
      run('cp', '-a', `${readFileSync(image, 'utf8')}/.`, dir)
      return async () => void run('umount', dir)
    },
  }
}

/** An overlay of a squashfs and an empty upper. */
function overlayAsLower(): LowerKind {
  return {
    name: 'overlay',
    hasUuid: false,
    clones: false,
    make(source, image) {
      run('mksquashfs', source, image, ...SQUASHFS)
      for (const part of ['below', 'upper', 'work']) mkdirSync(`${image}.${part}`)
    },
    async mount(image, dir) {
      const end = await mountLoop(image, `${image}.below`, 'ro')
      const options = `lowerdir=${image}.below,upperdir=${image}.upper,workdir=${image}.work,index=off`
      run('mount', '-t', 'overlay', 'overlay', '-o', options, dir)
      return async () => {
        run('umount', dir)
        await end()
      }
    },
  }
}

function inUserSpace(): LowerKind[] {
  const kind = (
    name: string,
    make: LowerKind['make'],
    command: (image: string, dir: string) => readonly [string, ...string[]],
  ): LowerKind => ({
    name,
    hasUuid: false,
    clones: false,
    make,
    mount: (image, dir) => fuse(dir, command(image, dir)),
  })
  const copy = (source: string, image: string) => run('cp', '-a', source, image)
  const tar = (source: string, image: string) => run('tar', '-C', source, '-cf', image, ...names(source))
  const zip = (source: string, image: string) => {
    execFileSync('zip', ['-q', '-r', `${image}.zip`, '.'], { cwd: source })
    run('mv', `${image}.zip`, image)
  }
  return [
    kind('archivemount', tar, (image, dir) => ['archivemount', '-f', '-o', 'readonly,nobackup', image, dir]),
    kind('fuse-zip', zip, (image, dir) => ['fuse-zip', '-f', '-r', image, dir]),
    {
      ...kind('rclone', copy, (image, dir) => ['rclone', 'mount', '--config', '/dev/null', '--read-only', image, dir]),
      failsCopyUp: true,
    },
    kind('bindfs', copy, (image, dir) => ['bindfs', '-f', image, dir]),
    kind(
      'squashfuse',
      (source, image) => run('mksquashfs', source, image, ...SQUASHFS),
      (image, dir) => ['squashfuse', '-f', image, dir],
    ),
  ]
}

async function fill(image: string, source: string, options: string): Promise<void> {
  await within(image, (dir) => run('cp', '-a', `${source}/.`, dir), options)
}

/** Mounts an image for a while. */
async function within(image: string, work: (dir: string) => void, options = 'defaults'): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-fill-'))
  try {
    const end = await mountLoop(image, dir, options)
    try {
      work(dir)
    } finally {
      await end()
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

async function mountLoop(image: string, dir: string, options: string): Promise<End> {
  run('mount', '-o', `loop,${options}`, image, dir)
  return async () => void run('umount', dir)
}

function names(dir: string): string[] {
  return execFileSync('ls', ['-A', dir], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name !== '')
}

function given(option: string, value: string | undefined): string[] {
  return value === undefined ? [] : [option, value]
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

/** What a tool of the kinds is missing, for a message. */
export function missingTools(): string[] {
  const tools = [
    'mksquashfs',
    'mkfs.erofs',
    'genisoimage',
    'archivemount',
    'fuse-zip',
    'zip',
    'rclone',
    'bindfs',
    'squashfuse',
  ]
  return tools.filter((tool) => !['/usr/bin', '/usr/sbin', '/bin', '/sbin'].some((dir) => existsSync(join(dir, tool))))
}
