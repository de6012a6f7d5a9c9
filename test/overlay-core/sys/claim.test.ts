import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { claimDir } from '../../../overlay-core/sys/claim.ts'
import { closeSync } from '../../../overlay-core/sys/open.ts'
import { scratchDir } from './scratch-dir.ts'

const holder = `
  const { openRoot } = await import(process.argv[1])
  const { claimDir } = await import(process.argv[2])
  process.stdout.write(await claimDir(await openRoot(process.argv[3])) === undefined ? 'busy' : 'claimed')
  setInterval(() => undefined, 1000)
`

t.test('a directory is claimed once, and free again when the claim is closed', async (t) => {
  const { fd } = await scratchDir(t)
  const claim = await claimDir(fd)
  t.type(claim, 'number')
  t.equal(await claimDir(fd), undefined)
  closeSync(claim as number)
  const again = await claimDir(fd)
  t.type(again, 'number')
  closeSync(again as number)
})

t.test('a claim of another process holds until that process dies', async (t) => {
  const { fd, path } = await scratchDir(t)
  const modules = ['open.ts', 'claim.ts'].map((name) =>
    new URL(`../../../overlay-core/sys/${name}`, import.meta.url).toString(),
  )
  const child = spawn(process.execPath, ['--input-type=module', '-e', holder, ...modules, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [answer] = await once(child.stdout, 'data')
  t.equal(String(answer), 'claimed')
  t.equal(await claimDir(fd), undefined)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const claim = await claimDir(fd)
  t.type(claim, 'number', 'a stale claim is none')
  closeSync(claim as number)
})
