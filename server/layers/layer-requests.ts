import { parseLayerReference } from '../../config/index.ts'
import { OptionError, readTree } from '../../overlay-core/index.ts'
import { newViewId } from '../registry/view-id.ts'
import { openSource, partOf, type SourceOptions } from './layer-source.ts'
import type { LayerUse } from './layer-uses.ts'
import { type LayerParts, makeVersion } from './make-version.ts'
import type { LayerVersion } from './version-record.ts'
import { storeError, type VersionStore } from './version-store.ts'

/** A request of `overlayd layer`. */
export interface LayerOrder {
  /** `import` adds a layer, or its next version. */
  readonly verb: 'add' | 'publish' | 'import' | 'list' | 'show' | 'remove' | 'gc'
  /** `NAME`; for `remove` `NAME@VERSION`; for `show` either. For `list` a name, or undefined for all. */
  readonly layer?: string
  /** The name of the new version (`add`, `publish`); by default its number. */
  readonly version?: string
  /** Where its content comes from, see `openSource`. */
  readonly from?: string
  /** Whether files `.wh.NAME` in a directory are whiteouts. */
  readonly whiteoutFiles?: boolean
  /** Whether `gc` only tells what it would remove. */
  readonly dryRun?: boolean
}

/** A version as `overlayd layer` shows it. */
export interface LayerDescription {
  readonly layer: string
  readonly version: string
  readonly serial: number
  readonly digest: string
  /** ISO 8601. */
  readonly created: string
  readonly from: string
  /** The version to which its content was added. */
  readonly on?: string
  /** The sizes of all regular files together. */
  readonly bytes: number
  readonly objects: number
  /** The directory of its content. */
  readonly path: string
  /** Who lies on it: views, and templates whose new views will. */
  readonly usedBy: readonly string[]
}

/** What `gc` removed, or would remove. */
export interface Removed {
  /** Contents that no version has. */
  readonly digests: readonly string[]
  /** Leftovers of work that did not end. */
  readonly leftovers: number
}

export type LayerResult = { readonly layers: readonly LayerDescription[] } | { readonly removed: Removed }

/** What requests about layers work with. */
export interface LayerRequestParts extends LayerParts {
  /** Who lies on which versions now. */
  readonly uses: () => Promise<Iterable<LayerUse>> | Iterable<LayerUse>
  /** Told after a version was added. */
  readonly published: (version: LayerVersion) => void
}

/** Executes requests about layers. @throws OptionError naming `layer` or `from` */
export async function executeLayerOrder(parts: LayerRequestParts, order: LayerOrder): Promise<LayerResult> {
  try {
    return await new Requests(parts).execute(order)
  } catch (error) {
    throw storeError(parts.store.directory, error)
  }
}

class Requests {
  readonly #parts: LayerRequestParts
  readonly #store: VersionStore

  constructor(parts: LayerRequestParts) {
    this.#parts = parts
    this.#store = parts.store
  }

  async execute(order: LayerOrder): Promise<LayerResult> {
    const { verb, layer = '' } = order
    if (verb === 'gc') return { removed: await this.#collect(order.dryRun === true) }
    if (verb === 'list') return { layers: await this.#list(layer) }
    const { name, version } = parseLayerReference(layer)
    if (verb === 'show') {
      const found = version === undefined ? await this.#versionsOf(name) : [await this.#store.find(name, version)]
      return { layers: await this.#describe(found) }
    }
    if (verb === 'remove') return { layers: [await this.#remove(name, version)] }
    if (version !== undefined)
      throw new OptionError('layer', `${JSON.stringify(layer)} names a version; use ${name} with --version ${version}`)
    return { layers: await this.#describe([await this.#add(name, order)]) }
  }

  async #add(name: string, { verb, version, from, whiteoutFiles }: LayerOrder): Promise<LayerVersion> {
    if (version !== undefined) parseLayerReference(`${name}@${version}`)
    if (from === undefined) throw new OptionError('from', 'is missing; name a directory, a tar file or an OCI image')
    await refuseTaken(this.#store, name, version)
    const isThere = (await this.#store.versions(name)).length > 0
    if (verb === 'add' && isThere)
      throw new OptionError('layer', `${name} exists already; overlayd layer publish ${name} makes its next version`)
    // Says which layers there are.
    if (verb === 'publish') await this.#store.find(name)
    const how: SourceOptions = whiteoutFiles === undefined ? {} : { whiteoutFiles }
    const source = await openSource(from, how)
    try {
      const made = await makeVersion(this.#parts, { layer: name, version, from: source.from }, source)
      this.#parts.published(made)
      return made
    } finally {
      await source.close()
    }
  }

  async #list(name: string): Promise<LayerDescription[]> {
    return await this.#describe(name === '' ? await this.#store.all() : await this.#versionsOf(name))
  }

  async #versionsOf(name: string): Promise<LayerVersion[]> {
    await this.#store.find(name)
    return await this.#store.versions(name)
  }

  async #remove(name: string, version: string | undefined): Promise<LayerDescription> {
    if (version === undefined)
      throw new OptionError('layer', `remove takes one version; say ${name}@VERSION, see overlayd layer show ${name}`)
    const found = await this.#store.find(name, version)
    const [described] = (await this.#describe([found])) as [LayerDescription]
    const [first, second, ...others] = described.usedBy
    if (first !== undefined) {
      const all = [first, second, ...(others.length > 0 ? [`${others.length} more`] : [])].filter((each) => each)
      throw new OptionError(
        'layer',
        `${name}@${version} is used by ${all.join(', ')}; let them use another version, or remove them`,
      )
    }
    await this.#store.remove(found, newViewId(this.#parts.random))
    return described
  }

  async #collect(dryRun: boolean): Promise<Removed> {
    const release = await this.#store.alone()
    if (release === undefined) throw new OptionError('layer', 'a version is being made; try again when it is there')
    try {
      const found = await this.#store.unneeded()
      const digests = found.map(({ digest }) => digest).filter((each) => each !== undefined)
      if (!dryRun) for (const { path } of found) await this.#store.delete(path, newViewId(this.#parts.random))
      return { digests, leftovers: found.length - digests.length }
    } finally {
      release()
    }
  }

  async #describe(versions: readonly LayerVersion[]): Promise<LayerDescription[]> {
    const uses = new Map<string, Set<string>>()
    for (const { layer, version, by } of await this.#parts.uses()) {
      const key = `${layer}@${version}`
      uses.set(key, (uses.get(key) ?? new Set()).add(by))
    }
    const described = versions.map(async (each): Promise<LayerDescription> => {
      const { layer, version, serial, digest, createdMs, from, on } = each
      const { bytes, objects } = await this.#store.objectOf(each)
      const usedBy = [...(uses.get(`${layer}@${version}`) ?? [])]
      const created = new Date(createdMs).toISOString()
      const path = this.#store.pathOf(each)
      return {
        layer,
        version,
        serial,
        digest,
        created,
        from,
        ...(on !== undefined && { on }),
        bytes,
        objects,
        path,
        usedBy,
      }
    })
    return await Promise.all(described)
  }
}

/** @throws OptionError naming `layer`: there is a version of this name */
export async function refuseTaken(store: VersionStore, layer: string, version: string | undefined): Promise<void> {
  const taken = (await store.versions(layer)).some((each) => each.version === version)
  if (taken)
    throw new OptionError('layer', `${layer}@${version} exists, and a version never changes; choose another version`)
}

/** The content of a version as the lowest part of a new one. */
export function partOfVersion(store: VersionStore, version: LayerVersion) {
  return partOf(readTree(store.pathOf(version)))
}
