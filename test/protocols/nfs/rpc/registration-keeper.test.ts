import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { RegistrationKeeper } from '../../../../protocols/nfs/rpc/registration-keeper.ts'
import { PORTMAP } from '../../../helpers/nlm-client.ts'
import { XdrWriter } from '../../../helpers/rpc-client.ts'
import { listenForCalls } from '../../../helpers/rpc-listener.ts'
import { recordingLog } from '../recording-log.ts'

/** An rpcbind that keeps what is registered, by `program version protocol`. */
async function withRpcbind(
  test: (registered: Map<string, number>, endpoint: { host: string; port: number }) => Promise<void>,
): Promise<void> {
  const registered = new Map<string, number>()
  const rpcbind = await listenForCalls('127.0.0.1', ({ program, procedure, args }) => {
    if (program !== PORTMAP) return undefined
    const key = [args.u32(), args.u32(), args.u32()].join(' ')
    const port = args.u32()
    const known = registered.get(key)
    if (procedure === 3) return new XdrWriter().u32(known ?? 0).bytes()
    // As rpcbind: on all transports.
    if (procedure === 2) {
      for (const other of registered.keys()) {
        if (other.startsWith(key.replace(/\d+$/, ''))) registered.delete(other)
      }
    }
    // As rpcbind: what is registered has to be taken back first.
    if (procedure === 1 && known !== undefined) return new XdrWriter().u32(0).bytes()
    if (procedure === 1) registered.set(key, port)
    return new XdrWriter().u32(1).bytes()
  })
  try {
    await test(registered, { host: '127.0.0.1', port: rpcbind.port })
  } finally {
    await rpcbind.close()
  }
}

const NFS = { program: 100003, version: 3, port: 2049 }
const NLM = { program: 100021, version: 4, port: 2049, yields: true }
const NLM_UDP = { ...NLM, transport: 'udp' as const }

t.test('programs are registered from start to end, and again when rpcbind has forgotten them', async (t) => {
  await withRpcbind(async (registered, endpoint) => {
    const { log, complaints } = recordingLog()
    const keeper = new RegistrationKeeper([NFS, NLM, NLM_UDP], log, [endpoint])
    registered.set('100003 3 6', 999)
    await keeper.start()
    const all = { '100003 3 6': 2049, '100021 4 6': 2049, '100021 4 17': 2049 }
    t.same(Object.fromEntries(registered), all)
    registered.clear()
    await keeper.check()
    t.same(Object.fromEntries(registered), all, 'after a restart of rpcbind')
    registered.delete('100021 4 17')
    await keeper.check()
    t.same(Object.fromEntries(registered), all)
    await keeper.stop()
    t.same(Object.fromEntries(registered), {})
    t.same(complaints, [])
  })
})

t.test(
  'the lock manager is left to another server of the machine that has it, but not to one that is gone',
  async (t) => {
    const other = createServer()
    other.listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await withRpcbind(async (registered, endpoint) => {
      const { log, complaints } = recordingLog()
      registered.set('100021 4 6', port)
      registered.set('100021 4 17', port)
      const keeper = new RegistrationKeeper([NFS, NLM, NLM_UDP], log, [endpoint])
      await keeper.start()
      t.same(Object.fromEntries(registered), { '100003 3 6': 2049, '100021 4 6': port, '100021 4 17': port })
      t.match(complaints[0], 'nolock')
      await keeper.stop()
      t.equal(registered.size, 2)
      other.close()
      await once(other, 'close')
      await keeper.start()
      t.equal(registered.get('100021 4 6'), 2049)
      await keeper.stop()
    })
  },
)

t.test('an rpcbind that is away for a while is no fault', async (t) => {
  const { log, complaints } = recordingLog()
  let endpoint = { host: '127.0.0.1', port: 1 }
  await withRpcbind(async (_registered, here) => {
    endpoint = here
    const keeper = new RegistrationKeeper([NFS], log, [endpoint])
    await keeper.start()
    t.same(complaints, [])
    await keeper.stop()
  })
  const keeper = new RegistrationKeeper([NFS], log, [endpoint])
  await t.rejects(keeper.start(), /cannot reach rpcbind/)
  await keeper.check()
  t.same(complaints, [])
})
