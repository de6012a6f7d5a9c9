import { fileId } from '../layer/identity.ts'
import type { Layer } from '../layer/layer.ts'
import { ObjectAttr } from '../layer/object-attr.ts'
import type { Stat } from '../sys/stat.ts'

/**
 * The attributes of a lower object as they were when it was looked up, for all overlays of its stack: as a lookup reads them, and as clients see them.
 * (Clients see those of a directory, or of an object with an ACL or a recorded owner, a little differently.)
 */
export class LowerAttr extends ObjectAttr implements Stat {
  readonly ino: number
  readonly inoHi: number
  readonly inoLo: number
  readonly devMajor: number
  readonly devMinor: number
  readonly mountId: number
  readonly generation?: number

  constructor(layer: Layer, stat: Stat) {
    super({ type: stat.type, ...fileId(layer, stat) }, stat, { ...stat, acl: undefined })
    this.ino = stat.ino
    this.inoHi = stat.inoHi
    this.inoLo = stat.inoLo
    this.devMajor = stat.devMajor
    this.devMinor = stat.devMinor
    this.mountId = stat.mountId
    if (stat.generation !== undefined) this.generation = stat.generation
  }
}
