import { join } from 'node:path'
import type { TemplateSettings } from '../../config/index.ts'
import { OptionError, type QuotaLimits } from '../../overlay-core/index.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'

/** The file in the directory of a template with the limits of single views. */
const FILE = 'limits.json'
const KEYS = ['hardBytes', 'softBytes', 'hardFiles', 'softFiles', 'graceMs'] as const

/** The limits of single views, which replace those of their templates. Kept in the directories of the templates. */
export class OwnLimits {
  readonly #templates = new Map<string, { readonly path: string; limits: ReadonlyMap<string, QuotaLimits> }>()

  /** Reads the limits of the views of a template, unless they can have none. @throws OptionError the file is damaged */
  async open(template: string, { directory, ephemeral, quotaBy }: TemplateSettings): Promise<void> {
    if (ephemeral || quotaBy === 'filesystem') return
    const path = join(directory, FILE)
    const text = await readStateFile(path)
    this.#templates.set(template, { path, limits: text === undefined ? new Map() : parse(path, text) })
  }

  /** The limits of a view by its template and id; undefined: it has none of its own. */
  of(template: string, id: string): QuotaLimits | undefined {
    return this.#templates.get(template)?.limits.get(id)
  }

  /** The limits of a view that the server applies: its own, or those of its template. */
  limitsOf(template: string, id: string, { quota, quotaBy }: TemplateSettings): QuotaLimits | undefined {
    return this.of(template, id) ?? (quotaBy === 'filesystem' ? undefined : quota)
  }

  /**
   * Gives a view limits of its own, or takes them away. Durable when it resolves. Views that are not in `known` are forgotten.
   *
   * @throws OptionError naming `quota`: views of this template can have none
   */
  async set(
    template: string,
    id: string,
    limits: QuotaLimits | undefined,
    known: (id: string) => boolean,
  ): Promise<void> {
    const kept = this.#templates.get(template)
    if (kept === undefined)
      throw new OptionError(
        'quota',
        `views of ${template} cannot have limits of their own, because they are ephemeral or the file system limits them; change views.${template} in the configuration file`,
      )
    const next = new Map([...kept.limits].filter(([each]) => known(each)))
    if (limits === undefined) next.delete(id)
    else next.set(id, limits)
    await writeStateFile(kept.path, `${JSON.stringify(Object.fromEntries(next))}\n`)
    kept.limits = next
  }
}

function parse(path: string, text: string): ReadonlyMap<string, QuotaLimits> {
  try {
    const given = JSON.parse(text) as Record<string, Record<string, unknown>>
    return new Map(Object.entries(given).map(([id, limits]) => [id, limitsIn(limits)]))
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
    throw new OptionError(
      'directory',
      `${path} is damaged; correct it, or remove it so that all views have the limits of the template`,
    )
  }
}

function limitsIn(given: Record<string, unknown>): QuotaLimits {
  return Object.fromEntries(KEYS.flatMap((key) => (Number.isSafeInteger(given[key]) ? [[key, given[key]]] : [])))
}
