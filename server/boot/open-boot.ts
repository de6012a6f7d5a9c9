import type { Logger } from 'pino'
import type { BootSettings, Settings } from '../../config/index.ts'
import { type App, buildApp } from '../app.ts'
import { steadyClock, systemClock } from '../clock.ts'
import { JournalFile } from '../journal-file.ts'
import { listenHttp } from '../listeners.ts'
import { logOf } from '../log.ts'
import { systemRandom } from '../random.ts'
import type { Templates } from '../registry/templates.ts'
import { statePath } from '../state-path.ts'
import type { ServerStatus } from '../status.ts'
import { BootDoor } from './boot-door.ts'
import { addBootRoutes } from './boot-routes.ts'
import { BootTokens } from './boot-tokens.ts'
import { MachineRecords } from './machine-records.ts'
import { Machines } from './machines.ts'
import { ViewPreparer } from './prepare-view.ts'

/** The open boot door. */
export interface BootListener {
  readonly app: App
  readonly host: string
  readonly port: number
  close(): Promise<void>
}

/** Reads what is kept of machines. @returns the machines, and what closes their file */
export async function openMachines(
  settings: BootSettings,
  { stateDir, configFile = '', portmap, rpcbind }: Settings,
  log: Logger,
): Promise<{ readonly machines: Machines; readonly journal: JournalFile }> {
  const journal = await JournalFile.open(statePath(stateDir, 'machines', ['config\0', configFile]), 'machines')
  const own = logOf(log, 'boot')
  const findable = portmap || rpcbind
  const parts = {
    findable,
    records: new MachineRecords(journal, own),
    random: systemRandom,
    wallNow: systemClock,
    log: own,
  }
  return { machines: new Machines(settings, parts), journal }
}

/** Opens the listener for machines that boot. @throws OptionError its address is taken */
export async function openBoot(parts: {
  readonly machines: Machines
  readonly templates: Templates
  readonly nfsPort: () => number | undefined
  readonly status: () => ServerStatus
  readonly log: Logger
}): Promise<BootListener> {
  const { machines, templates, nfsPort, status } = parts
  const log = logOf(parts.log, 'boot')
  const preparer = new ViewPreparer({ templates, machines, log, wallNow: systemClock })
  const tokens = new BootTokens(systemRandom, steadyClock)
  const door = new BootDoor({ machines, preparer, tokens, log, nfsPort, now: steadyClock })
  // Machines ask by whatever name or address DHCP has told them.
  const app = buildApp({ log, anyHost: true, status })
  addBootRoutes(app.app, { door, templates, log })
  const { listen } = machines.settings
  const port = await listenHttp(app, listen, log, 'boot.listen')
  const close = async () => {
    await Promise.all([app.stopAccepting(), app.app.close()])
  }
  return { app, host: listen.host, port, close }
}
