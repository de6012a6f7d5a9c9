import { mkdir, readdir, readlink, rename, rmdir, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { claimDirectory, isUnwritable, nearestWord, OptionError } from '../../overlay-core/index.ts'
import { isThere, makeDirectory } from '../make-directory.ts'
import { deleteTree } from '../registry/delete-tree.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'
import { sync } from '../whole-file.ts'
import {
  digitsOf,
  type LayerObject,
  type LayerVersion,
  MAKING,
  NAMES,
  OBJECT_FILE,
  OBJECT_LINK,
  OBJECTS,
  objectIn,
  pathOfVersion,
  TREE,
  VERSION_FILE,
  versionIn,
} from './version-record.ts'

/** Shared with others, in flock(2). */
const LOCK_SH = 1

/** What a new version is called, and where it comes from. */
export type NewVersion = Omit<LayerVersion, 'version' | 'serial' | 'digest'> & {
  /** By default its number. */
  readonly version: string | undefined
}

/**
 * The layer store: layers with versions on disk.
 *
 *     names/NAME/VERSION/version.json  the record of a version (`LayerVersion`)
 *     names/NAME/VERSION/object        a link to objects/DIGEST
 *     objects/DIGEST/object.json       the record of a content (`LayerObject`)
 *     objects/DIGEST/tree              the content: a lower, with the marks of the kernel's overlay
 *     making/                          what is being made, or was when a process ended; `collect` deletes that
 *
 * Objects and versions are made in `making` and get their names by one rename when they are on disk, so each is there as a whole or not at all. Processes need
 * not agree with each other: a rename never replaces a version or an object.
 */
export class VersionStore {
  readonly directory: string

  /** @param directory absolute; made with the first version */
  constructor(directory: string) {
    this.directory = directory
  }

  /** The lower of a version. */
  pathOf({ layer, version }: Pick<LayerVersion, 'layer' | 'version'>): string {
    return pathOfVersion(this.directory, layer, version)
  }

  /** The names of all layers, sorted. */
  async names(): Promise<string[]> {
    return (await namesIn(join(this.directory, NAMES))).sort()
  }

  /** The versions of a layer, oldest first; none if there is no such layer. */
  async versions(layer: string): Promise<LayerVersion[]> {
    const names = await namesIn(join(this.directory, NAMES, layer))
    const found = await Promise.all(names.map((version) => this.#read(layer, version)))
    return found.filter((each) => each !== undefined).sort((a, b) => a.serial - b.serial || a.createdMs - b.createdMs)
  }

  /** All versions of all layers. */
  async all(): Promise<LayerVersion[]> {
    return (await Promise.all((await this.names()).map((name) => this.versions(name)))).flat()
  }

  /** A version, by default the newest one. @throws OptionError naming `layer` */
  async find(layer: string, version?: string): Promise<LayerVersion> {
    const versions = await this.versions(layer)
    const newest = versions.at(-1)
    const found = version === undefined ? newest : versions.find((each) => each.version === version)
    if (found !== undefined) return found
    if (newest !== undefined) {
      const names = versions.map((each) => each.version)
      const near = nearestWord(version ?? '', names) ?? names.slice(-5).join(', ')
      throw new OptionError('layer', `${layer} has no version ${JSON.stringify(version)}; there is ${near}`)
    }
    const near = nearestWord(layer, await this.names())
    const mend = near === undefined ? `add it with overlayd layer add ${layer} --from DIR` : `did you mean ${near}?`
    throw new OptionError('layer', `there is no layer ${JSON.stringify(layer)} in ${this.directory}; ${mend}`)
  }

  /** The content of a version. @throws OptionError naming `layer`: it is damaged */
  async objectOf({ layer, version, digest }: LayerVersion): Promise<LayerObject> {
    const found = objectIn(await readJson(join(this.#objectPath(digest), OBJECT_FILE)))
    if (found !== undefined) return found
    throw new OptionError('layer', `${layer}@${version} is damaged: ${this.#objectPath(digest)} is gone; add it again`)
  }

  /** Whether there is an object with this digest. */
  async has(digest: string): Promise<boolean> {
    return await isThere(join(this.#objectPath(digest), OBJECT_FILE))
  }

  /** Makes a directory for a tree that becomes an object. Give it to `keep`, or delete it. @param id different at each call */
  async begin(id: string): Promise<{ readonly path: string; readonly tree: string }> {
    const making = join(this.directory, MAKING)
    await makeDirectory(making)
    const path = join(making, id)
    await mkdir(path, { mode: 0o700 })
    const tree = await this.addTree(path, TREE)
    return { path, tree }
  }

  /** Makes one more empty tree in a directory from `begin`. */
  async addTree(path: string, name: string): Promise<string> {
    const tree = join(path, name)
    await mkdir(tree, { mode: 0o755 })
    return tree
  }

  /** Keeps the tree in a directory from `begin`, which is on disk. If there is an object with its digest, that stays, and the tree is deleted. */
  async keep(path: string, object: LayerObject): Promise<void> {
    await writeStateFile(join(path, OBJECT_FILE), `${JSON.stringify(object)}\n`)
    await sync(path)
    const objects = join(this.directory, OBJECTS)
    await makeDirectory(objects)
    if (await renameUnlessThere(path, this.#objectPath(object.digest))) await sync(objects)
    else await deleteTree(path)
  }

  /** Makes a version of an object that exists; it is durable then. @throws OptionError naming `layer`: there is a version of this name */
  async publish(made: NewVersion, digest: string, id: string): Promise<LayerVersion> {
    const { layer, createdMs, from, on } = made
    const directory = join(this.directory, NAMES, layer)
    const top = await makeDirectory(directory)
    for (let attempt = 0; ; attempt++) {
      const versions = await this.versions(layer)
      const serial = (versions.at(-1)?.serial ?? 0) + 1
      const version = made.version ?? freeName(serial, versions)
      const record = { layer, version, serial, digest, createdMs, from, ...(on !== undefined && { on }) }
      const path = join(this.directory, MAKING, `${id}-version-${attempt}`)
      await this.#writeVersion(path, record)
      if (await renameUnlessThere(path, join(directory, version))) {
        await sync(directory)
        if (top !== undefined)
          for (const above of [join(this.directory, NAMES), this.directory, dirname(top)]) await sync(above)
        return record
      }
      await deleteTree(path)
      // Another process was faster, unless the name was asked for.
      if (made.version !== undefined)
        throw new OptionError(
          'layer',
          `${layer}@${version} exists, and a version never changes; choose another version`,
        )
    }
  }

  /** Removes a version. Its content stays until `collect`. */
  async remove({ layer, version }: LayerVersion, id: string): Promise<void> {
    const directory = join(this.directory, NAMES, layer)
    const making = join(this.directory, MAKING)
    await makeDirectory(making)
    const aside = join(making, `${id}-removed`)
    await rename(join(directory, version), aside)
    await sync(directory)
    await deleteTree(aside)
    await rmdir(directory).catch(ignoreFilled)
  }

  /** Keeps others from removing what no version needs yet, until the returned function is called; undefined if somebody removes now. */
  async shared(): Promise<(() => void) | undefined> {
    await makeDirectory(this.directory)
    return await claimDirectory(this.directory, LOCK_SH)
  }

  /** Keeps others from adding anything, as `shared`; undefined if somebody adds now. */
  async alone(): Promise<(() => void) | undefined> {
    await makeDirectory(this.directory)
    return await claimDirectory(this.directory)
  }

  /** What no version needs: objects, and what is left in `making`. Call it while `alone`. */
  async unneeded(): Promise<{ readonly path: string; readonly digest?: string }[]> {
    const needed = await this.#linked()
    const objects = (await namesIn(join(this.directory, OBJECTS))).filter((name) => !needed.has(name))
    const making = await namesIn(join(this.directory, MAKING))
    return [
      ...objects.map((name) => ({ path: join(this.directory, OBJECTS, name), digest: `sha256:${name}` })),
      ...making.map((name) => ({ path: join(this.directory, MAKING, name) })),
    ]
  }

  /** Deletes something that `unneeded` named. A crash leaves no part of an object. */
  async delete(path: string, id: string): Promise<void> {
    const making = join(this.directory, MAKING)
    if (dirname(path) === making) return void (await deleteTree(path))
    const aside = join(making, `${id}-${basename(path)}`)
    await makeDirectory(making)
    await rename(path, aside)
    await deleteTree(aside)
  }

  /** The names of the objects to which a version links, also one whose record is damaged. */
  async #linked(): Promise<Set<string>> {
    const found = new Set<string>()
    for (const layer of await this.names()) {
      const directory = join(this.directory, NAMES, layer)
      for (const version of await namesIn(directory))
        found.add(basename(await readlink(join(directory, version, OBJECT_LINK)).catch(() => '')))
    }
    return found
  }

  async #writeVersion(path: string, record: LayerVersion): Promise<void> {
    await makeDirectory(join(this.directory, MAKING))
    await mkdir(path, { mode: 0o700 })
    await symlink(join('..', '..', '..', OBJECTS, digitsOf(record.digest)), join(path, OBJECT_LINK))
    await writeStateFile(join(path, VERSION_FILE), `${JSON.stringify(record)}\n`)
    await sync(path)
  }

  async #read(layer: string, version: string): Promise<LayerVersion | undefined> {
    const path = join(this.directory, NAMES, layer, version)
    const record = versionIn(await readJson(join(path, VERSION_FILE)))
    if (record === undefined || record.layer !== layer || record.version !== version) return undefined
    const target = await readlink(join(path, OBJECT_LINK)).catch(() => '')
    return basename(target) === digitsOf(record.digest) ? record : undefined
  }

  #objectPath(digest: string): string {
    return join(this.directory, OBJECTS, digitsOf(digest))
  }
}

/** The number of a version as its name, unless that was given to another one. */
function freeName(serial: number, versions: readonly LayerVersion[]): string {
  const taken = new Set(versions.map(({ version }) => version))
  for (let number = serial; ; number++) if (!taken.has(String(number))) return String(number)
}

/** Gives a directory a new name, unless there is something with it. Returns whether it has. */
async function renameUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    // A directory replaces only an empty one, and none of these is empty.
    await rename(from, to)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false
    throw error
  }
}

function ignoreFilled(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw error
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse((await readStateFile(path)) ?? 'null')
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** The error of the disk as one about the layer store, for the one who asks. */
export function storeError(directory: string, error: unknown): unknown {
  if (error instanceof OptionError) return error
  const { code, path = directory } = error as NodeJS.ErrnoException
  if (code === undefined) return error
  const mend = isUnwritable(error) ? 'make room, or make it writable' : 'mend that, or set `directory` in [layers]'
  return new OptionError('layer', `${path} cannot be used (${code}); ${mend}`)
}
