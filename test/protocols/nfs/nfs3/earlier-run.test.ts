import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Overlay, OverlayError } from '../../../../overlay-core/index.ts'
import { parseExport, REPLY_MEMORY_BYTES, startNfs } from '../../../../protocols/nfs/index.ts'
import { type Handle, NfsClient, STATUS } from '../../../helpers/nfs-client.ts'
import { withOverlay } from '../../../helpers/overlay.ts'
import { authSys } from '../../../helpers/rpc-client.ts'
import { HANDLE_KEY, WRITE_VERIFIER } from '../nfs-fixture.ts'
import { recordingLog } from '../recording-log.ts'

/** A call that the first server takes on and never does; others made it in its stead, or nobody did. */
interface Story {
  readonly upper?: Readonly<Record<string, string>>
  /** The call that is under way when the server dies; it is asked again of the next one. */
  readonly call: (client: NfsClient, root: Handle) => Promise<{ readonly status: number }>
  /** What others do before the server dies. */
  readonly before?: (other: NfsClient, root: Handle, overlay: Overlay) => Promise<unknown>
  /** What others do before the client is back. */
  readonly after?: (other: NfsClient, root: Handle) => Promise<unknown>
  /** By how much the clock is put back while there is no server. */
  readonly putBackMs?: number
  /** How long after the time of the layers the call is made. */
  readonly lateMs?: number
  readonly status: number
  readonly check?: (t: Test, upper: string) => void
}

const XID = 0x6000_0000

function serve(overlay: Overlay, bytes: Uint8Array, lateMs = 0) {
  return startNfs({
    host: '127.0.0.1',
    port: 0,
    exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') }],
    handleKey: HANDLE_KEY,
    writeVerifier: WRITE_VERIFIER,
    log: recordingLog().log,
    replyMemory: { bytes, changed: () => undefined },
    wallMs: () => Date.now() + lateMs,
  })
}

/** The overlay, where user 77 waits for `end` and gets nothing then. */
function stuckFor77(overlay: Overlay, arrived: () => void, end: Promise<void>): Overlay {
  return new Proxy(overlay, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const changes = !['inodeByKey', 'getattr', 'lookup', 'retain', 'retained'].includes(String(name))
        if (changes && (args[0] as { uid?: number }).uid === 77) {
          arrived()
          return end.then(() => {
            throw new OverlayError('ESTALE', 'test')
          })
        }
        return value.apply(target, args)
      }
    },
  })
}

function tell(name: string, story: Story): void {
  t.test(name, (t) =>
    withOverlay(
      t,
      [{}],
      async ({ overlay, upper }) => {
        const bytes = new Uint8Array(REPLY_MEMORY_BYTES)
        const { promise: underWay, resolve } = Promise.withResolvers<void>()
        const { promise: end, resolve: endNow } = Promise.withResolvers<void>()
        const first = await serve(stuckFor77(overlay, resolve, end), bytes, story.lateMs)
        const client = await NfsClient.connect(first.port, authSys(77, 77))
        const other = await NfsClient.connect(first.port)
        const root = await other.mount()
        client.rpc.nextXid = XID
        const lost = story.call(client, root).catch(() => 'lost')
        await underWay
        await story.before?.(other, root, overlay)
        // The memory as it is when the server dies; what that does from now on is not seen.
        const left = bytes.slice()
        await client.close()
        await other.close()
        t.equal(await lost, 'lost')
        endNow()
        await first.close()

        const second = await serve(overlay, left, (story.lateMs ?? 0) - (story.putBackMs ?? 0))
        const late = await NfsClient.connect(second.port)
        await story.after?.(late, root)
        const again = await NfsClient.connect(second.port, authSys(77, 77))
        again.rpc.nextXid = XID
        t.equal((await story.call(again, root)).status, story.status)
        t.equal(second.counters.resumed, 1)
        story.check?.(t, upper)
        await again.close()
        await late.close()
        await second.close()
      },
      { upper: { './': { mode: 0o777 }, ...story.upper } },
    ),
  )
}

tell('a call that was not begun is done when it is asked again', {
  call: (client, root) => client.mkdir(root, 'new'),
  status: STATUS.OK,
  check: (t, upper) => t.ok(existsSync(join(upper, 'new'))),
})

tell('MKDIR that another client was told to have won is not won twice', {
  call: (client, root) => client.mkdir(root, 'lock', { uid: 77 }),
  before: (other, root) => other.mkdir(root, 'lock', { uid: 77 }),
  status: STATUS.EXIST,
})

tell('CREATE GUARDED of a name that another client has made meanwhile is refused', {
  call: (client, root) => client.create(root, 'lock'),
  after: (other, root) => other.create(root, 'lock', { mode: 'guarded', attr: { uid: 77 } }),
  status: STATUS.EXIST,
})

tell('SYMLINK over another target is refused', {
  call: (client, root) => client.symlink(root, 'link', 'mine'),
  before: (_other, _root, overlay) => makeBehind(overlay, 'link', 'theirs'),
  status: STATUS.EXIST,
})

tell('SYMLINK that was there before the call is refused', {
  upper: { link: '-> mine' },
  lateMs: 1000,
  call: (client, root) => client.symlink(root, 'link', 'mine'),
  status: STATUS.EXIST,
})

tell('REMOVE that another client was told to have done is not done twice', {
  upper: { job: 'x' },
  call: (client, root) => client.remove(root, 'job'),
  before: (other, root) => other.remove(root, 'job'),
  status: STATUS.NOENT,
})

tell('REMOVE leaves what others have made under the name since', {
  upper: { file: 'old' },
  call: (client, root) => client.remove(root, 'file'),
  before: (_other, _root, overlay) => removeBehind(overlay, 'file'),
  after: (other, root) => other.create(root, 'file', { mode: 'guarded', attr: { mode: 0o604 } }),
  status: STATUS.OK,
  check: (t, upper) => t.equal(readFileSync(join(upper, 'file'), 'latin1'), ''),
})

tell('REMOVE that was not done is done, although the clock was put back', {
  upper: { file: 'x' },
  call: (client, root) => client.remove(root, 'file'),
  putBackMs: 60_000,
  status: STATUS.OK,
  check: (t, upper) => t.notOk(existsSync(join(upper, 'file'))),
})

tell('RENAME leaves what others have made under the name since', {
  upper: { from: 'old' },
  call: (client, root) => client.rename(root, 'from', root, 'to'),
  before: (_other, _root, overlay) => renameBehind(overlay, 'from', 'to'),
  after: (other, root) => other.create(root, 'from'),
  status: STATUS.OK,
  check: (t, upper) => {
    t.equal(readFileSync(join(upper, 'to'), 'latin1'), 'old')
    t.equal(readFileSync(join(upper, 'from'), 'latin1'), '')
  },
})

tell('RENAME whose source another client has taken elsewhere finds nothing', {
  upper: { job: 'x' },
  call: (client, root) => client.rename(root, 'job', root, 'mine'),
  before: (other, root) => other.rename(root, 'job', root, 'theirs'),
  status: STATUS.NOENT,
})

tell('LINK to a name of another file is refused', {
  upper: { a: 'a' },
  call: async (client, root) => client.link(await client.walk(root, 'a'), root, 'lock'),
  before: (other, root) => other.create(root, 'lock'),
  status: STATUS.EXIST,
})

const SERVER = { uid: 0, gid: 0, groups: [] }

/** Changes that no reply tells of, as those of another protocol. */
async function makeBehind(overlay: Overlay, name: string, target: string): Promise<void> {
  await overlay.symlink(SERVER, overlay.root, name, Buffer.from(target), { mode: 0o777 })
}

async function removeBehind(overlay: Overlay, name: string): Promise<void> {
  await overlay.unlink(SERVER, overlay.root, name)
}

async function renameBehind(overlay: Overlay, from: string, to: string): Promise<void> {
  await overlay.rename(SERVER, overlay.root, from, overlay.root, to)
}
