import type { TemplateSettings } from '../../config/index.ts'
import type { SharedStack } from './shared-stack.ts'
import { mountOn } from './template-lowers.ts'
import type { TemplateParts } from './template-parts.ts'
import { optionsOf } from './view-directory.ts'
import type { EphemeralPlan, ViewPlan } from './view-plan.ts'
import type { Registry } from './view-registry.ts'

/** What the plan of the views of a template is made of. */
export interface PlanParts extends EphemeralPlan, Pick<ViewPlan, 'beforeUse'> {
  readonly name: string
  readonly parts: TemplateParts
  readonly registry: Registry
  readonly stack: SharedStack
  /** The present settings. */
  readonly settings: () => TemplateSettings
}

/** What each view of a template needs from it. */
export function makePlan({ name, parts, registry, stack, settings, beforeUse, takeOut, gone }: PlanParts): ViewPlan {
  const { pool, random, wallNow } = parts
  const { kind, quotaBy, ephemeral } = settings()
  const users = kind === 'per-user' ? parts.users : undefined
  return {
    template: name,
    pool,
    optionsOf: ({ id, top, versions }, frozen = registry.layers?.paths(top)) =>
      optionsOf(mountOn(settings(), versions), settings().directory, id, frozen),
    stackOf: (options) => stack.of({ ...options, lowerdir: options.lowerdir.slice(options.frozen ?? 0), frozen: 0 }),
    idleMs: () => settings().idleMs,
    settle: (id) => registry.settle(id),
    limits: (id) => parts.ownLimits.limitsOf(name, id, settings()) ?? (users?.isOn ? {} : undefined),
    // Who applies limits cannot change while the template is open.
    projectLimits: () => (quotaBy === 'filesystem' ? (settings().quota ?? {}) : undefined),
    random,
    users,
    wallNow,
    beforeUse,
    ephemeral: ephemeral ? { takeOut, gone } : undefined,
  }
}
