import { pino } from 'pino'
import t, { type Test } from 'tap'
import { installFaultPolicy } from '../../server/faults.ts'
import { listenForSignals } from '../../server/shutdown.ts'

const log = pino({ level: 'silent' })

/** Takes away the listeners that `events` of the process get during the test. */
function keepListeners(t: Test, events: string[]): void {
  const before = new Map(events.map((event) => [event, process.listeners(event as 'exit')]))
  t.teardown(() => {
    for (const [event, listeners] of before) {
      process.removeAllListeners(event)
      for (const listener of listeners) process.on(event as 'exit', listener)
    }
  })
}

t.test('the first signal asks for a stop, a second one ends the process at once', async (t) => {
  keepListeners(t, ['SIGTERM', 'SIGINT', 'SIGHUP'])
  const exits: number[] = []
  const stop = listenForSignals(
    log,
    () => 0,
    (status) => exits.push(status),
  )
  process.emit('SIGTERM')
  await stop.requested
  t.same(exits, [])
  t.equal(stop.exitStatus, 0)
  process.emit('SIGTERM')
  t.same(exits, [143])
})

t.test('a Ctrl-C that npm and the terminal both deliver counts once', async (t) => {
  keepListeners(t, ['SIGTERM', 'SIGINT', 'SIGHUP'])
  const exits: number[] = []
  let now = 1000
  const stop = listenForSignals(
    log,
    () => now,
    (status) => exits.push(status),
  )
  process.emit('SIGINT')
  now += 20
  process.emit('SIGINT')
  await stop.requested
  t.same(exits, [], 'the echo')
  now += 1000
  process.emit('SIGINT')
  t.same(exits, [130], 'pressed again')
})

t.test('what escapes every catch is counted, and only a flood of it stops the server', async (t) => {
  keepListeners(t, ['SIGTERM', 'SIGINT', 'SIGHUP', 'uncaughtException', 'unhandledRejection'])
  const stop = listenForSignals(
    log,
    () => 0,
    () => t.fail('nothing ends at once'),
  )
  let now = 0
  process.removeAllListeners('uncaughtException')
  process.removeAllListeners('unhandledRejection')
  const faults = installFaultPolicy(log, stop, () => now)
  for (let i = 0; i < 20; i++) {
    process.emit('uncaughtException', new Error('a bug'))
    now += 10_000
  }
  process.emit('unhandledRejection', new Error('another'), Promise.resolve())
  t.same(faults, { uncaughtExceptions: 20, unhandledRejections: 1 })
  t.equal(stop.exitStatus, 0, 'a few a minute are borne')
  for (let i = 0; i < 11; i++) process.emit('uncaughtException', new Error('a bug'))
  await stop.requested
  t.equal(stop.exitStatus, 1)
})
