import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { newDirectory, newFile, type Operation, type State } from '../stress/model.ts'
import { type Call, isSerial } from '../stress/serial.ts'
import { stressRound } from '../stress/stress.ts'

const START: State = new Map([
  ['1.1', newDirectory(0o755, undefined, new Map([['a', '2.1']]))],
  ['2.1', newFile(0o644, 'old')],
])

/** A history from its calls: began, ended, operation, answer. */
function history(...calls: [number, number, Operation, string][]): Call[] {
  return calls.map(([began, ended, operation, result]) => ({ operation, began, effective: began, ended, result }))
}

const read: Operation = { op: 'read', object: '2.1' }
const write: Operation = { op: 'write', object: '2.1', value: 'new' }
const unlink: Operation = { op: 'unlink', dir: '1.1', name: 'a' }
const move = { op: 'rename', dir: '1.1', name: 'a', toDir: '1.1', toName: 'b', how: 'replace' } as const

const anything = () => true

t.test('reads that overlap a write are explained only by the right order', async (t) => {
  t.ok(isSerial(START, history([0, 9, write, 'ok'], [1, 2, read, 'old'], [3, 4, read, 'new']), anything))
  t.notOk(isSerial(START, history([0, 9, write, 'ok'], [1, 2, read, 'new'], [3, 4, read, 'old']), anything))
})

t.test('only one of two removals of the same name can have succeeded', async (t) => {
  t.ok(isSerial(START, history([0, 5, unlink, 'ok'], [1, 4, unlink, 'ENOENT']), anything))
  t.notOk(isSerial(START, history([0, 5, unlink, 'ok'], [1, 4, unlink, 'ok']), anything))
})

t.test('the final state must be that of some order', async (t) => {
  const calls = history([0, 5, move, 'ok'], [1, 4, { op: 'create', dir: '1.1', name: 'a' }, '3.1'])
  t.ok(isSerial(START, calls, (state) => state.get('1.1')?.entries.size === 2))
  t.notOk(isSerial(START, calls, (state) => state.get('1.1')?.entries.size === 1))
})

t.test('a lookup that overlaps a rename sees all of it or nothing', async (t) => {
  const look = (name: string): Operation => ({ op: 'lookup', dir: '1.1', name })
  t.ok(isSerial(START, history([0, 9, move, 'ok'], [1, 2, look('a'), '2.1'], [3, 4, look('b'), '2.1']), anything))
  t.notOk(isSerial(START, history([0, 9, move, 'ok'], [1, 2, look('a'), 'none'], [3, 4, look('b'), 'none']), anything))
})

async function stress(t: Test, views: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-stress-'))
  try {
    for (let seed = 1; seed <= 6; seed++) {
      const options = ['', 'index=off', 'metacopy=on'][seed % 3] as string
      const { failures, operations } = await stressRound(dir, { seed, options, views }, (work) => work)
      t.same(failures, [], `seed ${seed}, options "${options}"`)
      t.ok(operations > 100)
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

t.test('hundreds of concurrent operations on a few names have a serial order, and take locks in order', (t) =>
  stress(t, 1),
)

t.test(
  'so they do in two views of one stack, one of which is closed and opened meanwhile, while the lower grows',
  (t) => stress(t, 2),
)
