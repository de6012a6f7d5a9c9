import { chownSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Handle, NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { authSys } from '../helpers/rpc-client.ts'
import { freePorts, type Running, start } from './launch.ts'

t.setTimeout(180_000)

/** A server that can be killed and comes back, its client, and the root's handle. */
class Served {
  client: NfsClient | undefined
  root: Handle = Buffer.alloc(0)
  readonly #t: Test
  readonly #uid: number
  readonly #args: readonly string[]
  #server: Running | undefined

  constructor(t: Test, uid: number) {
    this.#t = t
    this.#uid = uid
    const dir = mkdtempSync('/tmp/overlayd-handles-')
    t.teardown(() => rmSync(dir, { recursive: true, force: true }))
    const at = (path: string) => join(dir, path)
    for (const path of ['lower', 'lower/above', 'lower/above/deep', 'lower/other', 'upper', 'work']) mkdirSync(at(path))
    writeFileSync(at('lower/above/deep/file'), 'lower data')
    writeFileSync(at('lower/above/deep/still'), 'still')
    writeFileSync(at('lower/above/linked'), 'linked')
    linkSync(at('lower/above/linked'), at('lower/other/name'))
    writeFileSync(at('upper/own'), 'own data')
    for (const path of ['.', 'upper', 'upper/own', 'work']) chownSync(at(path), uid, uid)
    for (const path of ['lower', 'lower/above', 'lower/above/deep', 'lower/other']) chownSync(at(path), uid, uid)
    for (const path of ['above/deep/file', 'above/deep/still', 'above/linked']) chownSync(at(`lower/${path}`), uid, uid)
    const o = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
    this.#args = ['-o', o, ...freePorts(at('state')), '--export', '127.0.0.1(rw,no_root_squash,insecure)']
  }

  /** Kills the server, if it runs, and starts it again: nothing is left in its memory. */
  async again(): Promise<NfsClient> {
    await this.client?.close()
    await this.#server?.stop('SIGKILL')
    this.#server = await start(this.#t, this.#args, this.#uid === 0 ? {} : { uid: this.#uid, cwd: '/' })
    this.client = await NfsClient.connect(this.#server.nfsPort as number, authSys(this.#uid, this.#uid))
    this.root = await this.client.mount()
    return this.client
  }

  async end(): Promise<void> {
    await this.client?.close()
    await this.#server?.stop()
  }
}

for (const [who, uid] of [
  ['root', 0],
  ['a user without any capability', 65_534],
] as const) {
  t.test(`handles outlive a server of ${who} through everything that can happen to their objects`, async (t) => {
    const served = new Served(t, uid)
    let client = await served.again()
    const { root } = served
    const above = await client.walk(root, 'above')
    const deep = await client.walk(above, 'deep')
    const other = await client.walk(root, 'other')
    const known = new Map<string, { handle: Handle; fileid: bigint; data: string }>()
    for (const [path, data] of [
      ['above/deep/file', 'lower data'],
      ['above/deep/still', 'still'],
      ['above/linked', 'linked'],
      ['own', 'own data'],
    ] as const) {
      const handle = await client.walk(root, path)
      t.ok(handle.length <= 64)
      known.set(path, { handle, data, fileid: (await client.getattr(handle)).attr!.fileid })
    }
    const check = async (what: string) => {
      client = await served.again()
      t.same(served.root, root, `${what}: the root`)
      for (const [path, { handle, fileid, data }] of known) {
        const { status, attr } = await client.getattr(handle)
        t.equal(status, STATUS.OK, `${what}: ${path}`)
        t.equal(attr?.fileid, fileid, `${what}: its file id`)
        t.equal((await client.read(handle, 0, 100)).data.toString(), data, `${what}: its data`)
      }
    }
    const file = known.get('above/deep/file')!
    t.equal((await client.write(file.handle, 0, Buffer.from('UPPER'))).status, STATUS.OK)
    file.data = 'UPPER data'
    const linked = known.get('above/linked')!
    t.equal((await client.write(linked.handle, 0, Buffer.from('LINK'))).status, STATUS.OK)
    linked.data = 'LINKed'
    await check('copied up')
    t.equal((await client.rename(deep, 'file', other, 'moved')).status, STATUS.OK)
    t.equal((await client.rename(root, 'above', other, 'below')).status, STATUS.OK)
    await check('renamed, and a directory above')
    t.same((await client.lookup(other, 'name')).handle, linked.handle, 'the other name leads to the same object')
    t.equal((await client.link(linked.handle, root, 'third')).status, STATUS.OK)
    t.equal((await client.remove(above, 'linked')).status, STATUS.OK)
    t.equal((await client.remove(other, 'name')).status, STATUS.OK)
    await check('the names that it was known by removed')

    t.equal((await client.remove(root, 'third')).status, STATUS.OK)
    t.equal((await client.getattr(linked.handle)).status, STATUS.STALE, 'the last name went')
    client = await served.again()
    t.equal((await client.getattr(linked.handle)).status, STATUS.STALE, 'and so it stays')
    await served.end()
  })

  t.test(`an inode number that is used again is ESTALE for a server of ${who}, also after a kill`, async (t) => {
    const served = new Served(t, uid)
    const client = await served.again()
    const gone: Handle[] = []
    const ids = new Map<bigint, number>()
    for (let i = 0; i < 30; i++) {
      const { handle, attr } = await client.create(served.root, `file${i}`)
      ids.set(attr!.fileid, (ids.get(attr!.fileid) ?? 0) + 1)
      if (i < 29) t.equal((await client.remove(served.root, `file${i}`)).status, STATUS.OK)
      gone.push(handle!)
    }
    const last = gone.pop()!
    t.ok(ids.size < 30, `${30 - ids.size} inode numbers were used again`)
    const after = await served.again()
    for (const handle of gone) {
      t.equal((await after.getattr(handle)).status, STATUS.STALE)
      t.equal((await after.read(handle, 0, 1)).status, STATUS.STALE)
    }
    t.equal((await after.getattr(last)).status, STATUS.OK)
    await served.end()
  })
}
