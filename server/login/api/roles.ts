/** What a user may be. `owner` is meant for one template: a teacher. */
export const ROLES = ['user', 'reader', 'owner', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** What somebody may do. `own`: the view of a template that bears the name of the user; `other`: those of other users. */
export const ACTIONS = [
  'read own view',
  'change own view',
  'read shared view',
  'change shared view',
  'end lock of other',
  'list views of template',
  'read other view',
  'change other view',
  'make token of own',
  'manage tokens of others',
  'administer',
] as const
export type Action = (typeof ACTIONS)[number]

const USER: readonly Action[] = [
  'read own view',
  'change own view',
  'read shared view',
  'change shared view',
  'make token of own',
]
const OWNER: readonly Action[] = [...USER, 'list views of template', 'read other view', 'change other view']

/** Who may do what. Whoever has several roles may do what any of them may, but a reader changes nothing. */
export const MAY: Readonly<Record<Role, ReadonlySet<Action>>> = {
  user: new Set(USER),
  reader: new Set<Action>(['read own view', 'read shared view', 'make token of own']),
  owner: new Set(OWNER),
  admin: new Set(ACTIONS),
}

/** Whether somebody with these roles may do it. */
export function may(roles: readonly Role[], action: Action): boolean {
  if (roles.includes('reader')) return MAY.reader.has(action)
  return roles.some((role) => MAY[role].has(action))
}
