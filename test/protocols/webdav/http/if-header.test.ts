import t from 'tap'
import { type IfState, listHolds, parseIf } from '../../../../protocols/webdav/http/if-header.ts'
import { refusal } from '../refusal.ts'

const state = (etag: string | undefined, ...tokens: string[]): IfState => ({
  etag,
  hasLock: (token) => tokens.includes(token),
})

const holds = (field: string, now: IfState) => parseIf(field).some(({ conditions }) => listHolds(conditions, now))

t.test('untagged lists: any list, all of its conditions', async (t) => {
  const field = '(<urn:a> ["e1"]) (["e2"])'
  t.same(parseIf(field), [
    {
      tag: undefined,
      conditions: [
        { not: false, token: 'urn:a' },
        { not: false, etag: { weak: false, value: '"e1"' } },
      ],
    },
    { tag: undefined, conditions: [{ not: false, etag: { weak: false, value: '"e2"' } }] },
  ])
  t.ok(holds(field, state('"e1"', 'urn:a')))
  t.notOk(holds(field, state('"e1"')))
  t.ok(holds(field, state('"e2"')))
  t.notOk(holds(field, state(undefined, 'urn:a')))
})

t.test('a resource tag holds for all lists that follow it', async (t) => {
  const lists = parseIf('<http://h/a> (<urn:a>)(<urn:b>) </c> (Not <urn:c>)')
  t.same(
    lists.map(({ tag }) => tag),
    ['http://h/a', 'http://h/a', '/c'],
  )
})

t.test('Not turns a condition round', async (t) => {
  t.ok(holds('(Not <urn:a>)', state(undefined)))
  t.notOk(holds('(Not <urn:a>)', state(undefined, 'urn:a')))
  t.ok(holds('(<urn:a>) (Not <DAV:no-lock>)', state(undefined)), 'nobody holds DAV:no-lock')
  t.ok(holds('(not ["x"])', state('"y"')))
  t.ok(holds('(Not["x"])', state(undefined)), 'a missing resource has no entity tag')
})

t.test('entity tags compare strongly, and may hold brackets and spaces', async (t) => {
  t.notOk(holds('([W/"e"])', state('"e"')))
  t.ok(holds('(["a]b)c"])', state('"a]b)c"')))
})

for (const field of [
  '',
  '   ',
  '()',
  '( )',
  '(<urn:a>',
  '<urn:a>',
  'urn:a',
  '(urn:a)',
  '(<>)',
  '(<a b>)',
  '(["a)',
  '([a])',
  '(["a"]',
  '(<urn:a>) garbage',
  '(<urn:a>), (<urn:b>)',
  '(<urn:a>) </tagged> (<urn:b>)',
  '</a> (<urn:a>) trailing (<urn:b>)',
  '(Not)',
  '(Not Not <urn:a>)',
  `(${'<urn:a>'.repeat(300)})`,
]) {
  t.test(`the field ${JSON.stringify(field.slice(0, 40))} is refused with 400`, async (t) => {
    t.equal(
      refusal(() => parseIf(field)),
      400,
    )
  })
}
