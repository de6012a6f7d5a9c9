import t from 'tap'
import { LargeMap } from '../../../overlay-core/base/large-map.ts'

t.test('a large map behaves like a Map, at any size, with strings and numbers as keys', async (t) => {
  for (const keyOf of [(i: number) => `name-${i}`, (i: number) => i * 4096, (i: number) => 2 ** 40 + i * 2 ** 32]) {
    const map = new LargeMap<string | number, number>()
    const model = new Map<string | number, number>()
    for (let i = 0; i < 20_000; i++) {
      const key = keyOf((i * 7919) % 10_007)
      if (i % 3 === 2) {
        if (map.delete(key) !== model.delete(key)) t.fail(`delete ${key}`)
      } else {
        map.set(key, i)
        model.set(key, i)
      }
      if (map.size !== model.size || map.get(key) !== model.get(key)) t.fail(`${key}`)
    }
    t.same(new Map(map), model)
    t.same(new Set(map.keys()), new Set(model.keys()))
    t.equal(map.has(keyOf(20_000)), false)
    map.clear()
    t.equal(map.size, 0)
    t.same([...map], [])
  }
})
