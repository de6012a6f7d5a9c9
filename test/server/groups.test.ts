import { execFileSync } from 'node:child_process'
import t from 'tap'
import { groupsOf } from '../../server/groups.ts'

t.test('the groups of a user are those that id tells; a user that does not exist has none', async (t) => {
  const expected = execFileSync('id', ['-G', 'root'], { encoding: 'utf8' }).trim().split(' ').map(Number)
  const many = await Promise.all([0, 0, 0, 0, 0, 0, 4_000_000_000].map(groupsOf))
  t.same(many, [...Array(6).fill(expected), undefined])
})
