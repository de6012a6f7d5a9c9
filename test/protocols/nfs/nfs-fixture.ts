import type { Test } from 'tap'
import type { Overlay } from '../../../overlay-core/index.ts'
import { type NfsServer, type NfsServerOptions, parseExport, startNfs } from '../../../protocols/nfs/index.ts'
import { type Handle, NfsClient } from '../../helpers/nfs-client.ts'
import { type Fixture, type Tree, withOverlay } from '../../helpers/overlay.ts'
import type { Auth } from '../../helpers/rpc-client.ts'
import { recordingLog } from './recording-log.ts'

/** A server over an overlay, a client of it (uid 0, not squashed unless `rules` say so), and the root's handle. */
export interface NfsFixture extends Fixture {
  readonly server: NfsServer
  readonly client: NfsClient
  readonly root: Handle
  /** Lines of the log of level warn and error. */
  readonly complaints: string[]
  /** A further connection. */
  connect(auth?: Auth, localPort?: number): Promise<NfsClient>
}

export const HANDLE_KEY = Buffer.alloc(32, 7)
export const WRITE_VERIFIER = Buffer.from('0123456789abcdef', 'hex')

/** Builds an overlay, serves it as `/overlay` on a free port, and takes all down afterwards. */
export async function withNfs(
  t: Test,
  lowers: readonly Tree[],
  test: (fixture: NfsFixture) => Promise<void>,
  settings: Parameters<typeof withOverlay>[3] & {
    rules?: string
    nfs?: Partial<NfsServerOptions>
    mounts?: boolean
    /** What is served instead of the overlay itself. */
    decorate?: (overlay: Overlay) => Overlay
  } = {},
): Promise<void> {
  await withOverlay(
    t,
    lowers,
    async (fixture) => {
      const { log, complaints } = recordingLog()
      const server = await startNfs({
        host: '127.0.0.1',
        port: 0,
        exports: [
          {
            name: 'overlay',
            overlay: settings.decorate?.(fixture.overlay) ?? fixture.overlay,
            rules: parseExport(settings.rules ?? '127.0.0.1(rw,no_root_squash,insecure)'),
          },
        ],
        handleKey: HANDLE_KEY,
        writeVerifier: WRITE_VERIFIER,
        log,
        ...settings.nfs,
      })
      const clients: NfsClient[] = []
      const connect = async (auth?: Auth, localPort?: number): Promise<NfsClient> => {
        const client = await NfsClient.connect(server.port, auth, localPort)
        clients.push(client)
        return client
      }
      try {
        const client = await connect()
        const root = settings.mounts === false ? undefined : (await client.mnt('/overlay')).handle
        await test(Object.assign(Object.create(fixture), { server, client, root, complaints, connect }))
      } finally {
        for (const client of clients) await client.close()
        await server.close()
      }
    },
    settings,
  )
}
