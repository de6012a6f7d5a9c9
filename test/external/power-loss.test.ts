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
  /** Runs `test` with a client of a server over what the disk holds now. */
  afterLoss(test: (client: NfsClient) => Promise<void>): Promise<void>
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
    const afterLoss = async (test: (client: NfsClient) => Promise<void>) => {
      await sh(`cp ${name}/image ${name}/image.after; mount -o loop ${name}/image.after ${name}/after`)
      const upper = { upperdir: join(top, 'after/upper'), workdir: join(top, 'after/work') }
      const next = await startOverlayd(scratch, { lowerdir: layers.lowerdir, ...upper }, { exports })
      const after = await NfsClient.connect(next.nfs.port)
      try {
        await test(after)
      } finally {
        await after.close()
        await next.stop()
        await sh(`umount ${name}/after`)
      }
    }
    await test({ client, root: await client.mount(), connect, disk, afterLoss })
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

t.test('sync: the handles of what was made, moved or changed lead to it after the loss', async (t) => {
  await withDisk('127.0.0.1(rw,no_root_squash,insecure,sync)', async ({ client, root, afterLoss }) => {
    const deep = await client.walk(root, 'deep/er')
    const moving = await client.walk(root, 'moving')
    const changed = await client.walk(deep, 'file')
    const dir = (await client.mkdir(root, 'dir')).handle!
    const made = (await client.create(dir, 'made')).handle!
    const link = (await client.symlink(dir, 'link', 'target')).handle!
    t.equal((await client.rename(root, 'moving', dir, 'moved')).status, STATUS.OK)
    t.equal((await client.rename(root, 'dir', deep, 'dir')).status, STATUS.OK)
    t.equal((await client.setattr(changed, { mode: 0o600 })).status, STATUS.OK)
    const handles = { root, deep, moving, changed, dir, made, link }
    const ids = new Map<string, bigint>()
    for (const [name, handle] of Object.entries(handles)) ids.set(name, (await client.getattr(handle)).attr!.fileid)
    await afterLoss(async (after) => {
      for (const [name, handle] of Object.entries(handles)) {
        const { status, attr } = await after.getattr(handle)
        t.equal(status, STATUS.OK, name)
        t.equal(attr?.fileid, ids.get(name), `${name}: file id`)
      }
      t.equal((await after.read(moving, 0, 10)).data.toString(), 'lower\n')
    })
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
