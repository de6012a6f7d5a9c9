import { mkdir, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { isThere, makeDirectory } from '../make-directory.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'
import { deleteTree } from './delete-tree.ts'
import { type FreezeRecord, freezeRecordIn, type LayerRecord } from './layer-record.ts'
import { isViewId } from './view-id.ts'

/** The directory of the frozen layers, in that of a template. */
const LAYERS = 'layers'
/** What a freeze does, in the directory of its layer, from which a crash is finished or undone. */
const RECORD_FILE = 'layer.json'
/** The beginning of the name of a layer that is being deleted. */
const DELETING = 'deleting-'
/** The beginning of the name of a merge that is to take the place of a layer; or, if it has, of what was there before. */
const MERGING = 'merging-'

/** The frozen layers of a template on disk: `layers/ID` with `upper`, the layer, `index`, its hard links, and a record. */
export class LayerStore {
  readonly #directory: string
  /** The layer below each layer. */
  readonly #below = new Map<string, string | undefined>()

  /** @param directory that of the template */
  constructor(directory: string) {
    this.#directory = join(directory, LAYERS)
  }

  get size(): number {
    return this.#below.size
  }

  get records(): Iterable<LayerRecord> {
    return Array.from(this.#below, ([id, below]) => ({ id, below }))
  }

  put({ id, below }: LayerRecord): void {
    this.#below.set(id, below)
  }

  has(id: string): boolean {
    return this.#below.has(id)
  }

  /** The layer below another one. */
  below(id: string | undefined): string | undefined {
    return id === undefined ? undefined : this.#below.get(id)
  }

  pathOf(id: string): string {
    return join(this.#directory, id, 'upper')
  }

  /** The directory of a layer. */
  directoryOf(id: string): string {
    return join(this.#directory, id)
  }

  /** The ids of a layer and those below it, topmost first. */
  chain(top: string | undefined): string[] {
    const ids: string[] = []
    for (let id = top; id !== undefined && ids.length <= this.#below.size; id = this.#below.get(id)) ids.push(id)
    return ids
  }

  /** The paths of a layer and those below it, topmost first. */
  paths(top: string | undefined): string[] {
    return this.chain(top).map((id) => this.pathOf(id))
  }

  /** Makes the directory of a new layer, with the record of its freeze, which is durable then. */
  async prepare(record: FreezeRecord): Promise<string> {
    const directory = this.directoryOf(record.layer.id)
    await makeDirectory(this.#directory)
    await mkdir(directory, { mode: 0o700 })
    await writeStateFile(join(directory, RECORD_FILE), `${JSON.stringify(record)}\n`)
    return directory
  }

  /** Makes the directory of a merge that can take the place of layer `id`, and will lie on `below`. It is durable then. */
  async prepareMerge(id: string, below: string | undefined): Promise<string> {
    const directory = this.mergeOf(id)
    const record = await this.#read(id)
    if (record === undefined) throw new Error(`the record of ${this.directoryOf(id)} cannot be read`)
    await deleteTree(directory)
    await mkdir(directory, { mode: 0o700 })
    const merged: FreezeRecord = { ...record, layer: { id, below } }
    await writeStateFile(join(directory, RECORD_FILE), `${JSON.stringify(merged)}\n`)
    return directory
  }

  /** The directory of the merge that takes the place of layer `id`. */
  mergeOf(id: string): string {
    return join(this.#directory, `${MERGING}${id}`)
  }

  /** Deletes a merge that has not taken the place of layer `id`, or what was there before. */
  async deleteMerge(id: string): Promise<void> {
    await deleteTree(this.mergeOf(id))
  }

  /** The layers that a merge may have replaced, as their own records tell, which the registry may not know. */
  async merged(): Promise<LayerRecord[]> {
    const found: LayerRecord[] = []
    for (const name of await this.#names()) {
      const id = name.slice(MERGING.length)
      if (!name.startsWith(MERGING)) continue
      const record = isViewId(id) ? await this.#read(id) : undefined
      found.push(record?.layer ?? { id, below: this.#below.get(id) })
    }
    return found
  }

  /** The records of layers on disk that `put` was not called for, in the order of their freezes; deletes what is no layer or was being deleted. */
  async unknown(): Promise<FreezeRecord[]> {
    const found: FreezeRecord[] = []
    for (const name of await this.#names()) {
      if (this.#below.has(name) || name.startsWith(MERGING)) continue
      const record = isViewId(name) ? await this.#read(name) : undefined
      if (record) found.push(record)
      else if (name.startsWith(DELETING) || !(await isThere(join(this.#directory, name, 'upper'))))
        await deleteTree(join(this.#directory, name))
    }
    return inOrder(found)
  }

  /** Deletes a layer. A crash does not leave a part of it. */
  async delete(id: string): Promise<void> {
    this.#below.delete(id)
    const aside = join(this.#directory, `${DELETING}${id}`)
    await rename(this.directoryOf(id), aside).catch(ignoreAbsence)
    await deleteTree(aside)
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#directory)
    } catch (error) {
      ignoreAbsence(error as NodeJS.ErrnoException)
      return []
    }
  }

  async #read(id: string): Promise<FreezeRecord | undefined> {
    try {
      const text = (await readStateFile(join(this.directoryOf(id), RECORD_FILE))) ?? 'null'
      const record = freezeRecordIn(JSON.parse(text))
      return record?.layer.id === id ? record : undefined
    } catch (error) {
      if (error instanceof SyntaxError) return undefined
      throw error
    }
  }
}

/** Sorted so that each layer comes after the one below it. */
function inOrder(records: readonly FreezeRecord[]): FreezeRecord[] {
  const left = new Map(records.map((record) => [record.layer.id, record]))
  const sorted: FreezeRecord[] = []
  const take = (record: FreezeRecord) => {
    if (!left.delete(record.layer.id)) return
    const below = record.layer.below === undefined ? undefined : left.get(record.layer.below)
    if (below) take(below)
    sorted.push(record)
  }
  for (const record of records) take(record)
  return sorted
}

function ignoreAbsence(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
