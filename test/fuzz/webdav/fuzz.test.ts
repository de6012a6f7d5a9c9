import t from 'tap'
import { fuzzWebdav } from './fuzzer.ts'

t.setTimeout(180_000)

t.test('WebDAV requests changed at random end, stall, bloat and damage nothing', async (t) => {
  const { problems, requests, answers } = await fuzzWebdav(11, 4)
  t.same(problems, [])
  t.ok(requests > 100, `${requests} requests: ${JSON.stringify(answers)}`)
  t.ok((answers['400'] ?? 0) > 10 && (answers['207'] ?? 0) > 0, 'some are refused, some are answered')
})
