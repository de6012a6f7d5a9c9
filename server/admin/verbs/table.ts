import type { AnyVerb, Verb } from '../api/verb.ts'
import { CLIENT_VERBS } from './client-verbs.ts'
import { DIFFERENCE_VERBS } from './difference-verbs.ts'
import { JOB_VERBS } from './job-verbs.ts'
import { LAYER_VERBS } from './layer-verbs.ts'
import { MACHINE_VERBS } from './machine-verbs.ts'
import { REBASE_VERBS } from './rebase-verbs.ts'
import { SERVER_VERBS } from './server-verbs.ts'
import { SNAPSHOT_VERBS } from './snapshot-verbs.ts'
import { TOKEN_VERBS } from './token-verbs.ts'
import { TRASH_VERBS } from './trash-verbs.ts'
import { USAGE_VERBS } from './usage-verbs.ts'
import { VIEW_VERBS } from './view-verbs.ts'

/** Everything that an administrator can do with a running server. */
const TABLE = [
  ...SERVER_VERBS,
  ...VIEW_VERBS,
  ...SNAPSHOT_VERBS,
  ...TRASH_VERBS,
  ...DIFFERENCE_VERBS,
  ...TOKEN_VERBS,
  ...LAYER_VERBS,
  ...REBASE_VERBS,
  ...MACHINE_VERBS,
  ...CLIENT_VERBS,
  ...USAGE_VERBS,
  ...JOB_VERBS,
] as const

/** The same, for code that is generic. */
export const VERBS: readonly AnyVerb[] = TABLE

type Entry = (typeof TABLE)[number]

/** The names of all verbs. */
export type VerbName = Entry['name']

/** The order of a verb. */
export type OrderOf<Name extends VerbName> =
  Extract<Entry, { readonly name: Name }> extends Verb<Name, infer Order, infer _Result, infer _Kind> ? Order : never

/** What a verb results in; of lines, one line. */
export type ResultOf<Name extends VerbName> =
  Extract<Entry, { readonly name: Name }> extends Verb<Name, infer _Order, infer Result, infer _Kind> ? Result : never
