import { join } from 'node:path'
import t from 'tap'
import { startOverlayd } from './helpers/overlayd.ts'
import { enterOwnNetwork, HOST_ADDRESS } from './helpers/own-network.ts'
import { makeScratch } from './helpers/scratch.ts'

// The programs of libnfs, a client in user space: they ask the portmapper, mount, list, read and write by names.

enterOwnNetwork(import.meta.filename)
const scratch = makeScratch(t)
const { sh } = scratch
await sh(`
  mkdir -p lower/dir upper work
  echo lower > lower/dir/file
  seq 200000 > lower/long
  for i in $(seq 500); do : > lower/dir/name$i; done`)
const overlayd = await startOverlayd(
  scratch,
  {
    lowerdir: [join(scratch.path, 'lower')],
    upperdir: join(scratch.path, 'upper'),
    workdir: join(scratch.path, 'work'),
  },
  { exports: '10.77.0.0/24(rw,no_root_squash)', nfsHost: HOST_ADDRESS, flags: ['--portmap'] },
)
const url = `nfs://${HOST_ADDRESS}/overlay`

t.test('nfs-ls finds the server by its portmapper and lists every name', async (t) => {
  t.match(await sh(`nfs-ls ${url}/`), /^-rw-r--r--.* 1288895 long$/m)
  t.equal((await sh(`nfs-ls ${url}/dir`)).trim().split('\n').length, 501)
})

t.test('nfs-cat and nfs-cp read what the lower has', async (t) => {
  t.equal(await sh(`nfs-cat ${url}/dir/file`), 'lower\n')
  await sh(`nfs-cp ${url}/long copy && cmp copy lower/long`)
  t.pass('1.3 MB')
})

t.test('nfs-cp writes into the upper', async (t) => {
  await sh(`nfs-cp lower/long ${url}/dir/new && cmp upper/dir/new lower/long`)
  t.equal(await sh(`nfs-cat ${url}/dir/new | cmp - lower/long && echo same`), 'same\n')
  t.equal((await sh('ls upper upper/dir')).trim(), 'upper:\ndir\n\nupper/dir:\nnew')
})

t.test('stops', async () => {
  await overlayd.stop()
})
