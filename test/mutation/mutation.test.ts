import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { CORE_FAULTS } from './faults-core.ts'
import { PROTOCOL_FAULTS } from './faults-protocols.ts'
import { type PlantedFault, planted } from './planted-fault.ts'
import { Workshop } from './workshop.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))
const faults = [...CORE_FAULTS, ...PROTOCOL_FAULTS]

/** Those whose tests are quick enough to be run each time. */
const TRIED_HERE = [
  'a writer does not keep others out',
  'a change does not wait for calls',
  'messages may be cut short',
  'a deep lock covers only its collection',
]

/** As others, with another edit. */
function like(title: string, edit: Partial<PlantedFault> = {}): PlantedFault {
  const fault = faults.find((candidate) => candidate.title === title)
  if (fault === undefined) throw new Error(`no planted fault is called ${JSON.stringify(title)}`)
  return { ...fault, ...edit }
}

t.setTimeout(300_000)

t.test('some planted faults are noticed by the tests of their area; npm run test:mutation tries all', async (t) => {
  const workshop = new Workshop(top)
  t.teardown(() => workshop.close())
  for (const title of TRIED_HERE) {
    const { kind, by } = await workshop.try(like(title))
    t.equal(kind, 'noticed', `${title}: ${by}`)
  }
  const harmless = like('messages may be cut short', {
    replace: "if (next > this.end) throw new XdrError('too short')",
  })
  t.equal((await workshop.try(harmless)).kind, 'survived', 'an edit that changes nothing is not noticed')
  const unreadable = like('messages may be cut short', { replace: 'if (' })
  t.equal((await workshop.try(unreadable)).kind, 'invalid', 'what cannot be read tells nothing')
  t.equal((await workshop.try(like('messages may be cut short', { find: 'no such text' }))).kind, 'invalid')
  t.ok(await workshop.passes('test/protocols/nfs/xdr/decoder.test.ts'), 'the copy is sound again')
})

t.test('there are at least 60 planted faults, each with tests that exist', async (t) => {
  t.ok(faults.length >= 60, `${faults.length}`)
  for (const { title, file, tests } of faults) {
    t.ok(tests.length > 0 && existsSync(join(top, file)), title)
    for (const test of tests) t.ok(existsSync(join(top, test)), test)
  }
  t.equal(new Set(faults.map(({ file, find, replace }) => `${file} ${find} ${replace}`)).size, faults.length)
})

t.test('every planted fault fits its source as it is now', async (t) => {
  for (const fault of faults) {
    const source = await readFile(new URL(`../../${fault.file}`, import.meta.url), 'utf8')
    t.doesNotThrow(() => planted(source, fault), fault.title)
  }
})
