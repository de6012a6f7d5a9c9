import type { Scenario } from './scenario.ts'
import { MOUNT } from './scenarios-mount.ts'
import { LINK, REMOVE, RENAME, STAGED } from './scenarios-names.ts'
import { ATTRIBUTES, COPY_UP, CREATE, METACOPY } from './scenarios-objects.ts'

/** Everything that changes an overlay. */
export const SCENARIOS: readonly Scenario[] = [
  ...COPY_UP,
  ...METACOPY,
  ...CREATE,
  ...ATTRIBUTES,
  ...REMOVE,
  ...RENAME,
  ...LINK,
  ...STAGED,
  ...MOUNT,
]
