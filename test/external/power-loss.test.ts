import { join } from 'node:path'
import t from 'tap'
import { type Handle, NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'

// The upper is on an ext4 file system in a file. Copied just after the last answer, that file is what a disk holds when the power goes at that moment:
// everything that was flushed, and nothing that is still in memory. On a sync export it must hold all that was answered.

t.setTimeout(240_000)
const scratch = makeScratch(t)
const { sh } = scratch
let runs = 0

interface Run {
  readonly client: NfsClient
  readonly root: Handle
  connect(): Promise<NfsClient>
  /** What the disk holds now: lines of `find`, whiteouts and contents included. */
  disk(): Promise<string[]>
}

async function withDisk(exports: string, test: (run: Run) => Promise<void>): Promise<void> {
  const name = `run${runs++}`
  const top = join(scratch.path, name)
  await sh(`
    mkdir -p ${name}/lower/deep/er ${name}/disk ${name}/after
    echo lower > ${name}/lower/deep/er/file; echo old > ${name}/lower/old; echo lower > ${name}/lower/moving
    truncate -s 64M ${name}/image
    mkfs.ext4 -q ${name}/image
    mount -o loop ${name}/image ${name}/disk
    mkdir ${name}/disk/upper ${name}/disk/work
    chmod 1777 ${name}/disk/upper
    sync -f ${name}/disk/upper`)
  const layers = { lowerdir: [join(top, 'lower')], upperdir: join(top, 'disk/upper'), workdir: join(top, 'disk/work') }
  const overlayd = await startOverlayd(scratch, layers, { exports })
  const clients: NfsClient[] = []
  const connect = async () => {
    const client = await NfsClient.connect(overlayd.nfs.port)
    clients.push(client)
    return client
  }
  try {
    const client = await connect()
    const disk = async () => {
      const listing = await sh(`
        cp ${name}/image ${name}/image.after
        mount -o loop ${name}/image.after ${name}/after
        cd ${name}/after/upper
        find . -mindepth 1 -printf '%y %P %m %s\\n' | sort
        find . -type f -exec sh -c 'echo "content $1 $(head -c 20 "$1")"' - {} ';'
        cd /; umount ${top}/after`)
      return listing.trim().split('\n')
    }
    await test({ client, root: await client.mount(), connect, disk })
  } finally {
    for (const client of clients) await client.close()
    await overlayd.stop()
    await sh(`umount ${name}/disk`)
  }
}

t.test('sync: all that was answered is on the disk', async (t) => {
  await withDisk('127.0.0.1(rw,no_root_squash,insecure,sync)', async ({ client, root, connect, disk }) => {
    const deep = await client.walk(root, 'deep/er')
    const others = await Promise.all(Array.from({ length: 4 }, connect))
    const answers = await Promise.all([
      ...others.flatMap((other, i) => Array.from({ length: 25 }, (_, j) => other.create(deep, `made-${i}-${j}`))),
      client.mkdir(root, 'dir'),
      client.symlink(root, 'link', 'target'),
      client.remove(root, 'old'),
      client.rename(root, 'moving', deep, 'moved'),
    ])
    t.ok(answers.every(({ status }) => status === STATUS.OK))
    const lines = await disk()
    t.equal(lines.filter((line) => /^f deep\/er\/made-/.test(line)).length, 100)
    t.ok(lines.some((line) => line.startsWith('d dir 755 ')))
    t.ok(lines.some((line) => line.startsWith('l link ')))
    t.ok(
      lines.some((line) => line.startsWith('c old ')),
      'the whiteout',
    )
    t.ok(lines.some((line) => line.startsWith('c moving ')))
    t.ok(lines.includes('content ./deep/er/moved lower'))
  })
})

t.test('sync: attributes and data, each as it was asked for', async (t) => {
  await withDisk('127.0.0.1(rw,no_root_squash,insecure,sync)', async ({ client, root, disk }) => {
    const file = await client.walk(root, 'deep/er/file')
    t.equal((await client.setattr(file, { mode: 0o600 })).status, STATUS.OK)
    t.ok((await disk()).includes('f deep/er/file 600 6'), 'SETATTR, with the copy-up before it')
    const made = (await client.create(root, 'stable')).handle!
    t.equal((await client.write(made, 0, Buffer.from('stable data'), 2)).status, STATUS.OK)
    t.ok((await disk()).includes('content ./stable stable data'), 'WRITE, FILE_SYNC')
    const other = (await client.create(root, 'committed')).handle!
    t.equal((await client.write(other, 0, Buffer.from('first unstable'), 0)).status, STATUS.OK)
    t.equal((await client.commit(other)).status, STATUS.OK)
    t.ok((await disk()).includes('content ./committed first unstable'), 'COMMIT')
    t.equal((await client.create(root, 'stable', { mode: 'unchecked', attr: { size: 0 } })).status, STATUS.OK)
    t.ok((await disk()).includes('f stable 644 0'), 'CREATE that truncates')
  })
})

t.test('async: what was answered may be gone, but nothing is half there', async (t) => {
  await withDisk('127.0.0.1(rw,no_root_squash,insecure,async)', async ({ client, root, disk }) => {
    for (let i = 0; i < 20; i++) t.equal((await client.create(root, `made-${i}`)).status, STATUS.OK)
    const lines = (await disk()).filter((line) => line.includes('made-'))
    t.ok(lines.length < 40, 'this test would notice if sync did nothing')
    for (const line of lines) t.match(line, /^(f made-\d+ 644 0|content .\/made-\d+ )$/)
  })
})
