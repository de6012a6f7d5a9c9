import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { AS_SERVER, freePorts, start } from './launch.ts'

/** Libraries that only some servers need, and each server would keep in memory. */
const UNNEEDED = ['bcryptjs', 'ldapts', 'jose', 'openid-client', 'oauth4webapi', '@peculiar/x509']

/** Notes the file of each module that a process loads. */
const NOTES = `
import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
registerHooks({
  load(url, context, next) {
    appendFileSync(process.env.LOADED_MODULES, url + '\\n')
    return next(url, context)
  },
})
`

t.test('a server without a login and TLS loads no library for them', async (t) => {
  const dir = t.testdir({ lower: { a: 'A' }, 'notes.mjs': NOTES })
  const loaded = join(dir, 'loaded')
  writeFileSync(loaded, '')
  const server = await start(
    t,
    ['-o', `lowerdir=${join(dir, 'lower')}`, ...AS_SERVER, ...freePorts(join(dir, 'state'))],
    {
      env: { LOADED_MODULES: loaded },
      nodeOptions: [`--import=${pathToFileURL(join(dir, 'notes.mjs'))}`],
    },
  )
  t.equal(await server.stop(), 0)
  const packages = new Set(readFileSync(loaded, 'utf8').match(/(?<=\/node_modules\/)(@[^/]+\/)?[^/]+/g))
  t.ok(packages.has('fastify'), 'what it needs is noted')
  for (const name of UNNEEDED) t.notOk(packages.has(name), name)
})
