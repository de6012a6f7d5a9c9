import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'undici'
import { type Handle, NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { authSys } from '../helpers/rpc-client.ts'
import { CONTENT_BYTES, type Edit } from './model.ts'
import { type Door, Gone } from './student.ts'

/** Larger than the quota of a view. */
const OVERFLOW_BYTES = 600_000
const DQUOT = 69
/** After this time a client tries again what the server was too busy for. */
const RETRY_MS = 500
const MOST_MOUNTS = 60

/** A student with a WebDAV client. */
export class DavDoor implements Door {
  readonly #client: Client
  readonly #base: string

  constructor(origin: string, name: string) {
    this.#client = new Client(origin)
    this.#base = `/course/~${name}/`
  }

  async edit(edit: Edit): Promise<'done' | 'over quota'> {
    if (edit.kind === 'remove') return await this.#done('DELETE', edit.path, [204])
    if (edit.kind === 'move')
      return await this.#done('MOVE', edit.path, [201], { headers: { destination: `${this.#base}${edit.to}` } })
    const body = edit.kind === 'overflow' ? Buffer.alloc(OVERFLOW_BYTES) : edit.content
    return await this.#done('PUT', edit.path, [201, 204], { body })
  }

  async read(path: string): Promise<string | undefined> {
    const { status, body } = await this.#ask('GET', path)
    if (status !== 200 && status !== 404) throw new Error(`GET ${path}: ${status}`)
    return status === 200 ? body : undefined
  }

  async close(): Promise<void> {
    await this.#client.destroy()
  }

  async #done(
    method: string,
    path: string,
    good: readonly number[],
    more: { readonly body?: string | Buffer; readonly headers?: Record<string, string> } = {},
  ): Promise<'done' | 'over quota'> {
    const { status } = await this.#ask(method, path, more)
    if (status === 507) return 'over quota'
    if (!good.includes(status)) throw new Error(`${method} ${this.#base}${path}: ${status}`)
    return 'done'
  }

  async #ask(
    method: string,
    path: string,
    more: { readonly body?: string | Buffer; readonly headers?: Record<string, string> } = {},
  ): Promise<{ readonly status: number; readonly body: string }> {
    try {
      for (;;) {
        const answer = await this.#client.request({ method: method as 'GET', path: `${this.#base}${path}`, ...more })
        const body = await answer.body.text()
        // One address may not make views without end.
        if (answer.statusCode !== 503) return { status: answer.statusCode, body }
        await pause(RETRY_MS)
      }
    } catch (error) {
      throw new Gone(`${method} ${path}`, { cause: error })
    }
  }
}

async function mountPatiently(client: NfsClient, name: string): Promise<Handle> {
  for (let tries = 0; ; tries++) {
    const { status, handle } = await client.mnt(`/course/${name}`)
    if (status === STATUS.OK) return handle
    if (tries > MOST_MOUNTS) throw new Error(`MNT ${name}: ${status}`)
    await pause(RETRY_MS)
  }
}

/** A student with an NFS client, who keeps the handle of the view over restarts of the server. */
export class NfsDoor implements Door {
  readonly #client: NfsClient
  readonly #root: Handle

  private constructor(client: NfsClient, root: Handle) {
    this.#client = client
    this.#root = root
  }

  /** @param roots the handles of views that were mounted before */
  static async open(port: number, name: string, roots: Map<string, Handle>): Promise<NfsDoor> {
    try {
      const client = await NfsClient.connect(port, authSys(1000, 1000))
      const root = roots.get(name) ?? (await mountPatiently(client, name))
      roots.set(name, root)
      return new NfsDoor(client, root)
    } catch (error) {
      throw new Gone(`mount ${name}`, { cause: error })
    }
  }

  async edit(edit: Edit): Promise<'done' | 'over quota'> {
    const [dir, name] = await this.#place(edit.path)
    if (edit.kind === 'remove') return this.#outcome(edit, (await this.#alive(this.#client.remove(dir, name))).status)
    if (edit.kind === 'move') {
      const [to, toName] = await this.#place(edit.to)
      return this.#outcome(edit, (await this.#alive(this.#client.rename(dir, name, to, toName))).status)
    }
    const { handle, status } =
      edit.kind === 'add'
        ? await this.#alive(this.#client.create(dir, name))
        : await this.#alive(this.#client.lookup(dir, name))
    if (handle === undefined) return this.#outcome(edit, status)
    const written =
      edit.kind === 'overflow'
        ? this.#client.write(handle, OVERFLOW_BYTES, Buffer.from('x'))
        : this.#client.write(handle, 0, Buffer.from(edit.content))
    return this.#outcome(edit, (await this.#alive(written)).status)
  }

  async read(path: string): Promise<string | undefined> {
    const [dir, name] = await this.#place(path)
    const { handle, status } = await this.#alive(this.#client.lookup(dir, name))
    if (status === STATUS.NOENT) return undefined
    if (handle === undefined) throw new Error(`LOOKUP ${path}: ${status}`)
    return (await this.#alive(this.#client.read(handle, 0, CONTENT_BYTES))).data.toString()
  }

  async close(): Promise<void> {
    await this.#client.close().catch(() => undefined)
  }

  async #place(path: string): Promise<[Handle, string]> {
    const at = path.lastIndexOf('/')
    return [await this.#alive(this.#client.walk(this.#root, path.slice(0, at))), path.slice(at + 1)]
  }

  #outcome(edit: Edit, status: number): 'done' | 'over quota' {
    if (status === DQUOT) return 'over quota'
    if (status !== STATUS.OK) throw new Error(`${JSON.stringify(edit)}: ${status}`)
    return 'done'
  }

  /** @throws Gone the connection ended */
  async #alive<T>(call: Promise<T>): Promise<T> {
    try {
      return await call
    } catch (error) {
      if (error instanceof Error && /: \d+$/.test(error.message)) throw error
      throw new Gone('NFS', { cause: error })
    }
  }
}
