import { OptionError } from '../../overlay-core/index.ts'
import type { Template } from './template.ts'
import type { Templates } from './templates.ts'

/** A request of `overlayd trash`. */
export interface TrashOrder {
  readonly verb: 'list' | 'restore' | 'empty'
  /** The template for `list` and `empty`; all without it. */
  readonly template?: string
  /** What `restore` brings back, or the only thing that `empty` deletes. */
  readonly id?: string
  /** The name that it gets back, if that is not the former one. */
  readonly name?: string
}

/** Something removed that can be restored. */
export interface TrashDescription {
  /** 16 hexadecimal digits. */
  readonly id: string
  readonly kind: 'view' | 'snapshot'
  /** `TEMPLATE/NAME` or `TEMPLATE/NAME@SNAPSHOT`. */
  readonly path: string
  /** ISO 8601. */
  readonly removed: string
  /** When it is deleted for good, ISO 8601. */
  readonly ends: string
}

/** Executes requests of `overlayd trash`. Returns what is in the trash, was restored or deleted. @throws OptionError naming `view` */
export async function executeTrashOrder(templates: Templates, order: TrashOrder): Promise<TrashDescription[]> {
  const { verb, id, template } = order
  if (template !== undefined && templates.get(template) === undefined)
    throw new OptionError('view', `there is no template ${JSON.stringify(template)}; see overlayd view list`)
  const found = [...templates.list()]
    .filter(({ name }) => template === undefined || name === template)
    .flatMap((each) => trashOf(each).map((entry) => ({ each, entry })))
    .filter(({ entry }) => id === undefined || entry.id === id || entry.path === id)
  if (verb === 'list') return found.map(({ entry }) => entry)
  if (id !== undefined && found.length === 0)
    throw new OptionError('view', `${JSON.stringify(id)} is not in the trash; see overlayd trash list`)
  if (verb === 'empty') {
    for (const { each, entry } of found) await each.trash.delete(entry.id)
    return found.map(({ entry }) => entry)
  }
  const [only, second] = found
  if (only === undefined) throw new OptionError('view', 'nothing is named; see overlayd trash list')
  if (second !== undefined)
    throw new OptionError('view', `${id} was removed several times; use one of the ids of overlayd trash list`)
  return [{ ...only.entry, path: await only.each.trash.restore(only.entry.id, order.name) }]
}

/** What is in the trash of a template, the oldest first. */
export function trashOf(template: Template): TrashDescription[] {
  const { trashMs = 0 } = template.settings
  const describe = (kind: 'view' | 'snapshot', id: string, path: string, removedMs: number): TrashDescription => ({
    ...{ id, kind, path },
    removed: new Date(removedMs).toISOString(),
    ends: new Date(removedMs + trashMs).toISOString(),
  })
  const views = [...template.trash.binned()].map(({ view, removedMs }) =>
    describe('view', view.id, `${template.name}/${view.name}`, removedMs),
  )
  const snapshots = [...template.list()].flatMap(({ path, record }) =>
    (record.trash ?? []).map(({ top, name, removedMs }) => describe('snapshot', top, `${path}@${name}`, removedMs)),
  )
  return [...views, ...snapshots].sort((a, b) => (a.removed < b.removed ? -1 : 1))
}
