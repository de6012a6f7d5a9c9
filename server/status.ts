import type { Templates } from './registry/templates.ts'
import type { View } from './views.ts'

/** The counters of one listener or part, by name; groups may nest. */
export interface Counters {
  readonly [name: string]: number | Counters
}

/** The status of a running server: numbers and names, but no secrets and no paths. */
export interface ServerStatus {
  readonly version: string
  readonly pid: number
  readonly uptimeSeconds: number
  /** Resident memory in bytes. */
  readonly memoryBytes: number
  readonly views: readonly ViewStatus[]
  readonly doors: {
    readonly webdav?: { readonly url: string; readonly counters: Counters }
    /** The first boot script. */
    readonly boot?: { readonly url: string; readonly counters: Counters }
    readonly nfs?: { readonly host: string; readonly port: number; readonly counters: Counters }
  }
  /** HTTP connections and requests; none when WebDAV is off. */
  readonly http: Counters
  readonly admin: Counters
  /** Log lines that were counted instead of written, and lines that were lost. */
  readonly log: Counters
  readonly faults: Counters
}

/** A view, or a template with the numbers of its views. */
export interface ViewStatus {
  readonly name: string
  readonly readOnly: boolean
  readonly template?: { readonly kind: string; readonly views: number; readonly open: number }
}

/** The views as the status shows them. */
export function describeViews(views: readonly View[], templates: Templates | undefined): readonly ViewStatus[] {
  return views.map(({ name, overlay }) => {
    const template = templates?.get(name)
    if (template === undefined) return { name, readOnly: overlay.readOnly }
    const open = [...template.list()].filter((view) => view.overlay !== undefined).length
    return { name, readOnly: false, template: { kind: template.settings.kind, views: template.size, open } }
  })
}
