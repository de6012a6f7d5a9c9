import t from 'tap'
import { parseRange } from '../../../../protocols/webdav/http/range.ts'

const cases: [field: string, expected: [number, number][] | undefined][] = [
  ['bytes=0-0', [[0, 0]]],
  ['bytes=0-99', [[0, 99]]],
  ['bytes=0-100', [[0, 99]]],
  ['bytes=0-999999999999', [[0, 99]]],
  ['bytes=90-', [[90, 99]]],
  ['bytes=-1', [[99, 99]]],
  ['bytes=-1000', [[0, 99]]],
  ['Bytes = 5-6', [[5, 6]]],
  [
    'bytes=0-1, 4-5 ,-1',
    [
      [0, 1],
      [4, 5],
      [99, 99],
    ],
  ],
  ['bytes=100-', []],
  ['bytes=100-200,300-', []],
  ['bytes=-0', []],
  ['bytes=100-,0-0', [[0, 0]]],
  ['bytes=5-4', undefined],
  ['bytes=', undefined],
  ['bytes=,', undefined],
  ['bytes=-', undefined],
  ['bytes=a-b', undefined],
  ['bytes=--1', undefined],
  ['bytes=1-2-3', undefined],
  ['bytes=0x1-2', undefined],
  ['bytes=1.5-2', undefined],
  ['bytes=99999999999999999999-', undefined],
  ['items=0-1', undefined],
  ['0-1', undefined],
  ['bytes=0-99,0-99', undefined],
]

for (const [field, expected] of cases) {
  t.test(`${field} of 100 bytes is ${expected === undefined ? 'ignored' : JSON.stringify(expected)}`, async (t) => {
    const ranges = parseRange(field, 100, 16)
    t.same(
      ranges?.map(({ first, last }) => [first, last]),
      expected,
    )
  })
}

t.test('more ranges than allowed are ignored', async (t) => {
  const field = (count: number) => `bytes=${Array.from({ length: count }, (_, i) => `${i}-${i}`).join(',')}`
  t.equal(parseRange(field(16), 100, 16)?.length, 16)
  t.equal(parseRange(field(17), 100, 16), undefined)
  t.equal(parseRange(`bytes=${','.repeat(5000)}0-0`, 100, 16), undefined)
})

t.test('an empty file has no ranges', async (t) => {
  t.same(parseRange('bytes=0-', 0, 16), [])
  t.same(parseRange('bytes=-5', 0, 16), [])
})
