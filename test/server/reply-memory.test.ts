import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { freePorts, type Running, start } from './launch.ts'

function layers(t: Test) {
  const dir = t.testdir({ lower: {}, upper: {}, work: {} })
  const o = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
  const args = ['-o', o, ...freePorts(join(dir, 'state')), '--export', '127.0.0.1(rw,no_root_squash,insecure)']
  return { dir, args, folder: join(dir, 'state/nfs-replies') }
}

async function mkdirOnce(server: Running, xid: number, name: string): Promise<number> {
  const client = await NfsClient.connect(server.nfsPort as number)
  const root = await client.mount()
  client.rpc.nextXid = xid
  const { status } = await client.mkdir(root, name)
  await client.close()
  return status
}

t.setTimeout(120_000)

t.test('a reply is given again after a kill and after an end in order', async (t) => {
  const { args, folder } = layers(t)
  const first = await start(t, args)
  t.equal(await mkdirOnce(first, 7, 'd'), STATUS.OK)
  await first.stop('SIGKILL')
  const second = await start(t, args)
  t.equal(await mkdirOnce(second, 7, 'd'), STATUS.OK)
  t.equal(await mkdirOnce(second, 8, 'd'), STATUS.EXIST)
  t.equal(await second.stop(), 0)
  const third = await start(t, args)
  t.equal(await mkdirOnce(third, 7, 'd'), STATUS.OK)
  t.equal(await third.stop(), 0)
  const [file, ...more] = readdirSync(folder)
  t.same(more, [])
  t.equal(statSync(join(folder, file as string)).mode & 0o777, 0o600)
})

t.test('a damaged file is set aside with a warning, and a place that cannot be had is no reason to stop', async (t) => {
  const { args, folder } = layers(t)
  await (await start(t, args)).stop()
  const [name] = readdirSync(folder) as [string]
  const size = statSync(join(folder, name)).size
  for (const damaged of [Buffer.from('cut short'), Buffer.alloc(size, 0x5a)]) {
    writeFileSync(join(folder, name), damaged)
    const server = await start(t, args)
    t.match(server.stderr() + server.stdout(), 'is damaged and was set aside')
    t.ok(readFileSync(join(folder, `${name}.damaged`)).equals(damaged))
    t.equal(await mkdirOnce(server, 7, `d${damaged.length}`), STATUS.OK)
    t.equal(await server.stop(), 0)
    t.equal(statSync(join(folder, name)).size, size)
  }
  rmSync(folder, { recursive: true })
  writeFileSync(folder, '')
  const server = await start(t, args)
  t.match(server.stderr() + server.stdout(), 'cannot save NFS replies')
  t.equal(await mkdirOnce(server, 7, 'without'), STATUS.OK)
  t.equal(await server.stop(), 0)
})

t.test('an overlay that nobody can write to has no such file', async (t) => {
  const { dir, args, folder } = layers(t)
  const server = await start(t, ['-o', `lowerdir=${dir}/lower`, ...args.slice(2)])
  t.equal(await server.stop(), 0)
  t.notOk(readdirSync(join(folder, '..')).includes('nfs-replies'))
})
