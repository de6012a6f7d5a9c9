import type { Overlay } from '../../overlay-core/index.ts'
import { parseExport, startNfs } from '../../protocols/nfs/index.ts'
import { type Handle, NfsClient, STATUS } from './nfs-client.ts'

const QUIET = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
const HANDLE_KEY = Buffer.alloc(32, 9)

/** Serves an overlay over NFSv3, always with the same key, while `work` uses a client of it. */
export async function overNfs<T>(overlay: Overlay, work: (client: NfsClient) => Promise<T>): Promise<T> {
  const server = await startNfs({
    host: '127.0.0.1',
    port: 0,
    exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') }],
    handleKey: HANDLE_KEY,
    writeVerifier: Buffer.alloc(8, 1),
    log: QUIET,
  })
  const client = await NfsClient.connect(server.port)
  try {
    return await work(client)
  } finally {
    await client.close()
    await server.close()
  }
}

/** The handles that a client has of these paths. */
export async function nfsHandles(overlay: Overlay, paths: readonly string[]): Promise<Handle[]> {
  return await overNfs(overlay, async (client) => {
    const root = await client.mount()
    const handles: Handle[] = []
    for (const path of paths) handles.push(Buffer.from(await client.walk(root, path)))
    return handles
  })
}

/** What each handle shows: the content of its file, or ESTALE. */
export async function shownOverNfs(overlay: Overlay, handles: readonly Handle[]): Promise<string[]> {
  return await overNfs(overlay, async (client) => {
    const shown: string[] = []
    for (const handle of handles) {
      const { status, data } = await client.read(handle, 0, 1000)
      if (status !== STATUS.OK && status !== STATUS.STALE) throw new Error(`READ: status ${status}`)
      shown.push(status === STATUS.OK ? data.toString('latin1') : 'ESTALE')
    }
    return shown
  })
}
