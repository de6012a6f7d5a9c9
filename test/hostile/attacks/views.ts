import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { authSys, XdrWriter } from '../../helpers/rpc-client.ts'
import { configuration } from '../../server/course.ts'
import { ADDRESSES, EXPORTS, exportedClient } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { http } from '../raw-http.ts'
import type { Target, TargetOptions } from '../target.ts'

const CLIENT = authSys(1000, 1000)
const CALLS_AT_ONCE = 500

/** A server with a view for each user, all of whom are the same for the system, so that no accounts are needed. */
function course(arena: Arena): TargetOptions {
  const path = join(arena.dir, 'overlayd.toml')
  const more = 'create = true\nowner = "1000:1000"'
  writeFileSync(path, configuration({ material: arena.fixtures.names(10), more, clients: EXPORTS }))
  return { config: path, probed: { exportPath: '/course/probe', smallFile: '/course/~probe/small' } }
}

/** Asks for `count` views over NFS. Returns how many were mounted. */
async function mountMany(target: Target, address: string, count: number): Promise<number> {
  const rpc = await target.rpc(address)
  let mounted = 0
  for (let at = 0; at < count; at += CALLS_AT_ONCE) {
    const answers = Array.from({ length: Math.min(CALLS_AT_ONCE, count - at) }, (_, i) => {
      const path = new XdrWriter().string(`/course/${address}-${at + i}`).bytes()
      return rpc.call([100005, 3, 1], CLIENT, path)
    })
    for (const answer of await Promise.all(answers)) if (answer.u32() === 0) mounted++
  }
  await rpc.close()
  return mounted
}

const newViews: Attack = {
  name: 'mounts-of-new-views',
  by: 'client',
  what: 'one client mounts 10,000 views of users that nobody has heard of, and asks for as many over WebDAV',
  quick: true,
  async run(arena) {
    const target = await arena.start(course(arena))
    let client = 0
    await arena.underLoad(target, async () => {
      const mounted = await mountMany(target, exportedClient(client++), arena.size(10_000, 1000))
      arena.check('some are made, and not all', mounted >= 50 && mounted <= 200, mounted)
      for (let i = 0; i < arena.size(2000, 200); i++)
        await http(target.webdavPort!, { method: 'GET', path: `/course/~made-up-${client}-${i}/small`, keep: false })
    })
    const other = await mountMany(target, ADDRESSES.victim, 1)
    arena.check('another client still gets a new view', other === 1)
    arena.figure('log in all', target.logBytes / 1024, 'KiB', 100)
  },
}

export const VIEWS: readonly Attack[] = [newViews]
