import { readFileSync } from 'node:fs'
import t from 'tap'
import { ACTIONS, type Action, may, type Role, RoleList } from '../../../server/login/index.ts'

/** Who may do what, one letter for each of reader, user, owner and admin. */
const TABLE: Readonly<Record<Action, string>> = {
  'read own view': 'yyyy',
  'change own view': '-yyy',
  'read shared view': 'yyyy',
  'change shared view': '-yyy',
  'end lock of other': '---y',
  'list views of template': '--yy',
  'read other view': '--yy',
  'change other view': '--yy',
  'make token of own': 'yyyy',
  'manage tokens of others': '---y',
  administer: '---y',
}
const COLUMNS: readonly Role[] = ['reader', 'user', 'owner', 'admin']

t.test('each role may do what the table says, cell by cell', async (t) => {
  t.same(Object.keys(TABLE).sort(), [...ACTIONS].sort(), 'the table has every action')
  for (const action of ACTIONS) {
    for (const [at, role] of COLUMNS.entries()) {
      const roles: Role[] = role === 'user' ? ['user'] : ['user', role]
      t.equal(may(roles, action), TABLE[action][at] === 'y', `${role}: ${action}`)
    }
  }
})

t.test('the table of docs/users.md is this one', async (t) => {
  const text = readFileSync(new URL('../../../docs/users.md', import.meta.url), 'utf8')
  const rows =
    text
      .split('## Who may do what')[1]
      ?.match(/^\|.*\|$/gm)
      ?.slice(2) ?? []
  const cells = rows.map((row) =>
    row
      .split(' | ')
      .slice(1)
      .map((cell) => (cell.startsWith('yes') ? 'y' : '-'))
      .join(''),
  )
  t.same(
    cells.slice(0, ACTIONS.length),
    ACTIONS.map((action) => TABLE[action]),
  )
})

t.test('a reader changes nothing, even as an owner or admin, and nobody without a role may do anything', async (t) => {
  for (const action of ACTIONS) {
    t.equal(may(['user', 'reader', 'owner', 'admin'], action), TABLE[action][0] === 'y', action)
    t.notOk(may([], action), action)
  }
})

t.test('roles go by names and by groups', async (t) => {
  const list = new RoleList({ admins: ['root', '@wheel'], readers: ['@guests'] })
  t.same(list.of('root', []), ['user', 'admin'])
  t.same(list.of('alice', ['wheel', 'guests']), ['user', 'admin', 'reader'])
  t.same(list.of('wheel', []), ['user'], 'a user with the name of a group is not in it')
  t.same(list.of('@wheel', []), ['user'])
})
