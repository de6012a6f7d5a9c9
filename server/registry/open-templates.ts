import type { Logger } from 'pino'
import type { Settings } from '../../config/index.ts'
import { actsAsRoot, connectionsAllowed, guardChanges } from '../../overlay-core/index.ts'
import { steadyClock, systemClock } from '../clock.ts'
import { userByName } from '../groups.ts'
import { logOf } from '../log.ts'
import { systemRandom } from '../random.ts'
import type { RunningServer } from '../running-server.ts'
import { CreationRate } from './creation-rate.ts'
import { Templates } from './templates.ts'
import { type PoolHooks, ViewPool } from './view-pool.ts'

/** The maximum number of open views of templates. An idle one takes up to 30 KiB; with few descriptors there are fewer, as of connections. */
const MOST_OPEN = 4000

/** Reads the registries of the templates among the views. One that cannot be read is reported to `failed` and not served. */
export async function openTemplates(
  { views, login, machines }: RunningServer,
  { userQuota, limits }: Settings,
  log: Logger,
  failed: (view: string, error: unknown) => void,
): Promise<Templates> {
  const pool = new ViewPool({
    log: logOf(log, 'views'),
    now: steadyClock,
    mostOpen: mostOpenViews(limits),
  })
  const parts = {
    pool,
    accounts: { byName: (name: string) => (login === undefined ? userByName(name) : login.idsOf(name)) },
    rate: new CreationRate(steadyClock),
    machines,
    random: systemRandom,
    wallNow: systemClock,
    serverUid: actsAsRoot() ? 0 : (process.geteuid?.() ?? 0),
  }
  const templates = new Templates(parts, userQuota, login?.hasQuotas ? login.quotaOf : undefined)
  for (const { name, settings } of views.list()) {
    try {
      await templates.add(settings)
    } catch (error) {
      failed(name, error)
      await views.remove(name)
    }
  }
  templates.housekeeping.start()
  return templates
}

/** The maximum number of open views of templates. */
export function mostOpenViews(limits: Settings['limits']): number {
  return Math.min(limits?.openViews ?? MOST_OPEN, connectionsAllowed())
}

/** Tells the listeners of views that are closed. With mandatory locks, NFS respects the locks of WebDAV clients. */
export function viewHooks(server: RunningServer, { locks }: Settings): PoolHooks {
  return {
    closing: async (id) => server.webdav?.closing(id),
    removed: async (id) => server.webdav?.removed(id),
    lost: (error) => void server.nfs?.dataLost(error),
    guarded: (id, overlay) => {
      const { webdav } = server
      return locks === 'advisory' || webdav === undefined ? overlay : guardChanges(overlay, webdav.changeGuard(id))
    },
  }
}
