import type { Settings } from '../../config/index.ts'
import type { QuotaLimits } from '../../overlay-core/index.ts'
import { Housekeeping } from './housekeeping.ts'
import { OwnLimits } from './own-limits.ts'
import { Template } from './template.ts'
import type { TemplateParts } from './template-parts.ts'
import { type UserQuotaParts, UserQuotas, type UsersView } from './user-quotas.ts'
import type { PoolHooks, ViewPool } from './view-pool.ts'

/** All templates of a server by name, and their views. */
export class Templates {
  readonly #parts: TemplateParts
  readonly #templates = new Map<string, Template>()
  /** The limits of single views. */
  readonly ownLimits = new OwnLimits()
  /** What is done by itself in their views. */
  readonly housekeeping: Housekeeping

  /** `userLimits`: what each user may use in all views together. `ownLimitsOf`: what replaces it for a user, if accounts have quotas. */
  constructor(
    parts: Omit<TemplateParts, 'users' | 'ownLimits'>,
    userLimits: QuotaLimits | undefined,
    ownLimitsOf?: UserQuotaParts['ownLimitsOf'],
  ) {
    const { pool, wallNow } = parts
    const viewsOf = (user: string) => this.#viewsOf(user)
    this.housekeeping = new Housekeeping({ templates: () => this.list(), log: pool.log, wallNow })
    const users = new UserQuotas(userLimits, { log: pool.log, wallNow, viewsOf, ownLimitsOf })
    this.#parts = { ...parts, users, ownLimits: this.ownLimits }
  }

  /** The quotas of users over all templates. */
  get users(): UserQuotas {
    return this.#parts.users
  }

  *#viewsOf(user: string): Iterable<UsersView> {
    for (const template of this.#templates.values()) {
      const view = template.settings.kind === 'per-user' ? template.alike(user) : undefined
      if (view !== undefined) yield view.asUsersView
    }
  }

  get pool(): ViewPool {
    return this.#parts.pool
  }

  set hooks(hooks: PoolHooks) {
    this.#parts.pool.hooks = hooks
  }

  get(name: string): Template | undefined {
    return this.#templates.get(name)
  }

  list(): Iterable<Template> {
    return this.#templates.values()
  }

  /** Reads the registry of a template. @throws OptionError naming `directory` */
  async add({ name, template }: Settings['views'][number]): Promise<Template | undefined> {
    if (template === undefined) return undefined
    await this.ownLimits.open(name, template)
    const opened = await Template.open(name, template, this.#parts)
    this.#templates.set(name, opened)
    return opened
  }

  /** Closes a template that is not served any more. */
  async remove(name: string): Promise<void> {
    const template = this.#templates.get(name)
    this.#templates.delete(name)
    await template?.close()
  }

  /** Closes all views and registries. */
  async close(): Promise<void> {
    await this.housekeeping.close()
    await this.pool.close()
    for (const template of this.#templates.values()) await template.close()
  }
}
