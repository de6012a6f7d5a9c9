import { BaseChanges, type Cred, type MountOptions, mount, type Overlay, type Stack } from '../../overlay-core/index.ts'
import type { LayerVersions } from '../registry/layer-versions.ts'

/** The administrator of the server sees everything. */
export const ADMIN: Cred = { uid: 0, gid: 0, groups: [] }

/** How the versions of a template are mounted. */
export interface BaseParts {
  /** The lowers of the template at these versions, without an upper. */
  readonly lowersAt: (versions: LayerVersions | undefined) => MountOptions
  readonly stackOf: (options: MountOptions) => Promise<Stack>
}

/** Versions of the base, mounted once for all views that one order is about. */
export class BasePairs {
  readonly #parts: BaseParts
  readonly #mounted = new Map<string, Promise<Overlay>>()
  readonly #pairs = new Map<string, Promise<BaseChanges>>()

  constructor(parts: BaseParts) {
    this.#parts = parts
  }

  /** What differs between two versions. */
  of(from: LayerVersions | undefined, to: LayerVersions | undefined): Promise<BaseChanges> {
    const key = JSON.stringify([from, to])
    const known = this.#pairs.get(key)
    if (known !== undefined) return known
    const pair = Promise.all([this.#at(from), this.#at(to)]).then(([old, next]) => new BaseChanges(ADMIN, old, next))
    this.#pairs.set(key, pair)
    return pair
  }

  /** Unmounts them all. */
  async close(): Promise<void> {
    const overlays = await Promise.allSettled(this.#mounted.values())
    await Promise.all(overlays.map((each) => (each.status === 'fulfilled' ? each.value.unmount() : undefined)))
  }

  #at(versions: LayerVersions | undefined): Promise<Overlay> {
    const key = JSON.stringify(versions)
    const known = this.#mounted.get(key)
    if (known !== undefined) return known
    const options = this.#parts.lowersAt(versions)
    const mounted = this.#parts.stackOf(options).then((stack) => mount(options, { stack }))
    this.#mounted.set(key, mounted)
    return mounted
  }
}
