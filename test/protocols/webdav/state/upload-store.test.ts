import t from 'tap'
import type { ResumableStage, StagedFile } from '../../../../overlay-core/index.ts'
import { aboutUpload, UploadStore } from '../../../../protocols/webdav/state/upload-store.ts'

const LIFE_MS = 10_000
const LOG = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/** A store with clocks of the test, in a view with uploads of an earlier run. */
function store(most: number, earlier: readonly { readonly id: string; readonly mtimeSec: number }[] = []) {
  const clock = { now: 0, wall: 1_000_000_000_000 }
  const uploads = new UploadStore({ now: () => clock.now, wallNow: () => clock.wall }, LIFE_MS, most, LOG)
  const discarded: string[] = []
  const cred = { uid: 1, gid: 1, groups: [] }
  const stage = (id: string) =>
    ({
      sizeBytes: 0,
      discard: async () => void discarded.push(id),
      suspend: async () => undefined,
    }) as unknown as StagedFile
  const wanted = (id: string, uid = 1) => ({ id, view, uid, names: [id], lengthBytes: 5 })
  const overlay = {
    resumableStages: async (): Promise<ResumableStage[]> =>
      earlier.map(({ id, mtimeSec }) => ({
        id,
        about: aboutUpload(wanted(id), cred),
        staged: stage(id),
        mtimeSec,
        uid: 1,
      })),
  }
  const view = { id: 'view', overlay } as unknown as Parameters<UploadStore['load']>[0]
  t.teardown(() => uploads.close())
  return {
    ...{ uploads, clock, discarded, view },
    add: (id: string, address: string, uid = 1) => uploads.add({ ...wanted(id, uid), staged: stage(id), address }),
  }
}

t.test('one address has half of the uploads at most, and others can still start some', async (t) => {
  const { uploads, add } = store(4)
  for (const [uid, id] of ['a', 'b'].entries()) {
    t.ok(uploads.hasRoom('192.0.2.1', 'view', uid))
    add(id, '192.0.2.1', uid)
  }
  t.notOk(uploads.hasRoom('192.0.2.1', 'view', 9))
  t.ok(uploads.hasRoom('192.0.2.2', 'view', 9))
  t.ok(uploads.hasRoom('', 'view', 9), 'behind a proxy addresses are not known')
  uploads.forget('a')
  t.ok(uploads.hasRoom('192.0.2.1', 'view', 9))
  for (const [uid, id] of ['c', 'd', 'e'].entries()) add(id, `192.0.2.${id}`, 10 + uid)
  t.notOk(uploads.hasRoom('192.0.2.9', 'view', 20), 'there are no more')
})

t.test('one user in one view has a quarter of the uploads at most, also behind a proxy', async (t) => {
  const { uploads, add } = store(8)
  for (const id of ['a', 'b']) {
    t.ok(uploads.hasRoom('', 'view', 1))
    add(id, '', 1)
  }
  t.notOk(uploads.hasRoom('', 'view', 1))
  t.notOk(uploads.hasRoom('192.0.2.1', 'view', 1), 'nor from another address')
  t.ok(uploads.hasRoom('', 'view', 2))
  t.ok(uploads.hasRoom('', 'other', 1))
})

t.test('an upload lives for its time, whatever happens to the time of day', async (t) => {
  const { uploads, clock, discarded, add } = store(4)
  const upload = add('a', '')
  clock.wall += 30 * 24 * 3600 * 1000
  t.equal(uploads.find('a'), upload)
  t.equal(uploads.endOf(upload), clock.wall + LIFE_MS)
  clock.wall -= 3650 * 24 * 3600 * 1000
  clock.now = LIFE_MS - 1
  t.equal(uploads.find('a'), upload)
  clock.now = LIFE_MS
  t.equal(uploads.find('a'), undefined)
  t.same(discarded, ['a'])
})

t.test('an upload of an earlier run lives for the rest of its time, and never for longer than a new one', async (t) => {
  const wallSec = 1_000_000_000
  const { uploads, clock, discarded, view } = store(4, [
    { id: 'old', mtimeSec: wallSec - 20 },
    { id: 'younger', mtimeSec: wallSec - 6 },
    { id: 'of the future', mtimeSec: wallSec + 3600 },
  ])
  await uploads.load(view)
  t.same(discarded, ['old'])
  clock.now = 3999
  t.ok(uploads.find('younger'))
  clock.now = 4000
  t.notOk(uploads.find('younger'))
  clock.now = LIFE_MS - 1
  t.ok(uploads.find('of the future'))
  clock.now = LIFE_MS
  t.notOk(uploads.find('of the future'))
})
