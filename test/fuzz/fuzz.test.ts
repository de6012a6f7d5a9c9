import t from 'tap'
import { parseEntry, readCorpus } from './corpus.ts'
import { Fuzzer } from './fuzzer.ts'

t.setTimeout(180_000)

t.test('every entry of the corpus can be read', async (t) => {
  const handles = new Map(['root', 'file', 'dir', 'link', 'big'].map((name) => [name, Buffer.from(name)]))
  const corpus = readCorpus()
  t.ok(corpus.length >= 50)
  for (const entry of corpus) entry.bytes(handles)
  const own = parseEntry('x', '# why\ncall 1 2 3 # what\n00000001 {file} 02')
  t.same([own.call, own.bytes(handles).toString('hex')], [[1, 2, 3], '000000010000000466696c6502'])
  t.throws(() => parseEntry('x', '00'), /neither call nor stream/)
  t.throws(() => parseEntry('x', 'stream {nobody}').bytes(handles), /nobody/)
})

t.test('calls and streams changed at random end, stall, bloat and damage nothing', async (t) => {
  const print = (line: string) => t.comment(line)
  const { problems, calls, streams, answered, reached } = await new Fuzzer({
    seed: 7,
    seconds: 5,
    boundMs: 30_000,
    print,
  }).run()
  t.same(problems, [])
  t.ok(calls > 200 && streams > 20, `${calls} calls, ${streams} streams`)
  for (const program of [100000, 100003, 100005, 100021, 100024]) {
    t.ok((reached[program] ?? 0) > 10, `program ${program}: ${reached[program]} calls reached a procedure`)
  }
  t.ok((answered.GARBAGE_ARGS ?? 0) > 20 && (answered['status 0'] ?? 0) > 20, JSON.stringify(answered))
})
