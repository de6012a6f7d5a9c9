import type { Logger } from 'pino'
import { formatAddress } from '../config/index.ts'
import { type Cred, OptionError, type PersistentMemory } from '../overlay-core/index.ts'
import type { NfsServer } from '../protocols/nfs/index.ts'
import type { DavHandle } from '../protocols/webdav/index.ts'
import { Jobs } from './admin/jobs/jobs.ts'
import type { Admin } from './admin/open-admin.ts'
import type { App } from './app.ts'
import type { MachineDescription, MachineOrder } from './boot/machine-requests.ts'
import type { Machines } from './boot/machines.ts'
import type { BootListener } from './boot/open-boot.ts'
import type { Clock } from './clock.ts'
import type { Faults } from './faults.ts'
import { Growth } from './growth.ts'
import { History } from './history.ts'
import type { JournalFile } from './journal-file.ts'
import type { LogCounters } from './log-sink.ts'
import { measure, noteGrowth } from './measure.ts'
import type { MetricsListener } from './metrics/metrics-listener.ts'
import type { OpenLogin, WebLogin } from './open-login.ts'
import { Presence } from './presence.ts'
import { systemRandom } from './random.ts'
import { type RebaseRequests, rebaseRequests } from './rebase/rebase-requests.ts'
import { executeSnapshotOrder, type SnapshotDescription, type SnapshotOrder } from './registry/snapshot-requests.ts'
import type { Templates } from './registry/templates.ts'
import { executeTrashOrder, type TrashDescription, type TrashOrder } from './registry/trash.ts'
import { executeOrder, type ViewDescription, type ViewOrder } from './registry/view-requests.ts'
import type { ReloadReport } from './reload.ts'
import { removeRunFiles } from './state-dir.ts'
import { describeViews, type ServerStatus } from './status.ts'
import type { TlsCounters } from './tls/handshakes.ts'
import type { TlsKeeper } from './tls/tls-keeper.ts'
import { version } from './version.ts'
import type { RemountRequest, Views } from './views.ts'

/** How long requests may run after the server was asked to stop. */
const GRACE_MS = 10_000

/** Where WebDAV listens. */
export interface WebdavAddress {
  readonly scheme: 'http' | 'https'
  readonly host: string
  readonly port: number
}

/** The actual addresses of the listeners. */
export interface ListeningAddresses {
  readonly webdav: (WebdavAddress & { readonly user?: Pick<Cred, 'uid' | 'gid'> | undefined }) | undefined
  /** Set if they encrypt. */
  readonly tls: TlsKeeper | undefined
  readonly nfs: { readonly host: string; readonly port: number } | undefined
  /** Where machines get their boot scripts. */
  readonly boot?: { readonly host: string; readonly port: number } | undefined
  /** The URL of the admin listener on TCP. */
  readonly admin?: string | undefined
}

/** The parts of a server that runs or is starting. `close` closes those that exist, in order. */
export class RunningServer {
  readonly views: Views
  /** The directory of the layer store; undefined where there is no configuration file. */
  layerDirectory: string | undefined
  /** The templates; undefined if there are none. */
  templates: Templates | undefined
  /** The login; undefined if there is none. */
  login: OpenLogin | undefined
  /** The login over HTTP; undefined if there is none. */
  webLogin: WebLogin | undefined
  nfs: NfsServer | undefined
  http: App | undefined
  webdav: DavHandle | undefined
  /** The machines that boot from the server; undefined without [boot]. */
  machines: Machines | undefined
  boot: BootListener | undefined
  admin: Admin | undefined
  /** The listener for programs that watch the server; undefined without [metrics]. */
  metrics: MetricsListener | undefined
  /** Whether clients are served: not while the server starts or stops. */
  ready = false
  /** Throughput and size over time. */
  readonly history: History
  /** How much views have grown. */
  readonly growth: Growth
  /** Who has used what over HTTP. */
  readonly presence: Presence
  /** Long work that administrators have begun. */
  readonly jobs: Jobs
  /** Reads the configuration file again; undefined if there is none. */
  reload: (() => Promise<ReloadReport>) | undefined
  /** The user that WebDAV acts as. */
  webdavUser: Pick<Cred, 'uid' | 'gid'> | undefined
  webdavAddress: WebdavAddress | undefined
  /** The certificates; undefined if nothing is encrypted. */
  tls: TlsKeeper | undefined
  /** The counters of handshakes on the port of NFS. */
  nfsTls: TlsCounters | undefined
  /** The journals of WebDAV locks in the views of all clients, by view. */
  readonly lockJournals = new Map<string, JournalFile>()
  /** The other journals. */
  readonly journals: JournalFile[] = []
  /** The memory of NFS replies that survives a restart. */
  replyMemory: PersistentMemory | undefined
  /** Stops returning memory to the system. */
  stopKeepingMemory: () => void = () => undefined
  /** Writes the run file with the present views. Returns its path; undefined if the disk is full or read-only. */
  publishViews: () => Promise<string | undefined> = async () => undefined
  /** Files to remove at the end. */
  readonly publishedFiles: string[] = []
  readonly #log: Logger
  readonly #logCounters: LogCounters
  readonly #faults: Faults
  readonly #clock: Clock
  readonly #startedAtMs: number

  constructor(parts: { views: Views; log: Logger; logCounters: LogCounters; faults: Faults; clock: Clock }) {
    this.views = parts.views
    this.#log = parts.log
    this.#logCounters = parts.logCounters
    this.#faults = parts.faults
    this.#clock = parts.clock
    this.#startedAtMs = parts.clock()
    this.growth = new Growth(parts.clock)
    this.history = new History(
      () => measure(this),
      parts.clock,
      () => noteGrowth(this),
    )
    this.presence = new Presence(parts.clock)
    this.jobs = new Jobs({ wallNow: parts.clock, random: systemRandom, log: parts.log })
  }

  get listening(): ListeningAddresses {
    const webdav = this.webdavAddress && { ...this.webdavAddress, user: this.webdavUser }
    return { webdav, nfs: this.nfs, tls: this.tls, boot: this.boot, admin: this.admin?.url }
  }

  /** The data that `overlayd status` shows. */
  status(): ServerStatus {
    const { webdav, nfs } = this.listening
    return {
      version: version(),
      pid: process.pid,
      uptimeSeconds: Math.floor((this.#clock() - this.#startedAtMs) / 1000),
      memoryBytes: process.memoryUsage.rss(),
      views: describeViews(this.views.list(), this.templates),
      doors: {
        ...(webdav && {
          webdav: {
            url: `${webdav.scheme}://${formatAddress(webdav.host, webdav.port)}/`,
            counters: { ...this.webdav?.counters },
          },
        }),
        ...(nfs && {
          nfs: {
            host: nfs.host,
            port: nfs.port,
            counters: { ...this.nfs?.counters, ...(this.nfsTls && { tls: { ...this.nfsTls } }) },
          },
        }),
        ...(this.boot && {
          boot: {
            url: `http://${formatAddress(this.boot.host, this.boot.port)}/boot.ipxe`,
            counters: { ...this.boot.app.counters },
          },
        }),
      },
      http: { ...this.http?.counters, ...(this.http?.tls && { tls: { ...this.http.tls } }) },
      admin: { ...this.admin?.counters },
      log: { ...this.#logCounters },
      faults: { ...this.#faults },
    }
  }

  /** Changes the layers or options of a view. @throws OptionError an option is wrong; nothing has changed */
  async remount(request: RemountRequest): Promise<void> {
    await this.views.remount(request)
    this.#log.info({ view: request.view, options: request.options }, 'remounted')
  }

  /** Executes `overlayd view`. @throws OptionError naming `view` */
  async changeViews(order: ViewOrder): Promise<readonly ViewDescription[]> {
    if (this.templates === undefined) return []
    const done = await executeOrder(this.templates, order, async (id) => this.webdav?.removed(id))
    if (order.verb !== 'list' && order.verb !== 'show') this.#log.info(order, 'the views were changed')
    return done
  }

  /** Executes `overlayd snapshot`, `snapshots`, `rollback`, `reset` and `fork`. @throws OptionError naming `view` */
  async changeSnapshots(order: SnapshotOrder): Promise<readonly SnapshotDescription[]> {
    if (this.templates === undefined) return []
    const done = await executeSnapshotOrder(this.templates, order)
    if (order.verb !== 'list') this.#log.info({ ...order, done }, 'the snapshots were changed')
    return done
  }

  /** What `overlayd rebase` and `conflicts` ask for. */
  get rebases(): RebaseRequests {
    return rebaseRequests(this.templates, this.#log)
  }

  /** Executes `overlayd machine`. @throws OptionError naming `machine` or `view` */
  async changeMachines(order: MachineOrder): Promise<readonly MachineDescription[]> {
    const { machines, templates } = this
    if (machines === undefined || templates === undefined)
      throw new OptionError('machine', 'no machine boots from this server; add [boot] to its configuration file')
    const { executeMachineOrder } = await import('./boot/machine-requests.ts')
    const now = this.#clock()
    const done = await executeMachineOrder({ machines, templates, nfsPort: this.nfs?.port, now }, order)
    if (!['list', 'show', 'console-args'].includes(order.verb)) this.#log.info(order, 'the machines were changed')
    return done
  }

  /** Executes `overlayd trash`. @throws OptionError naming `view` */
  async changeTrash(order: TrashOrder): Promise<readonly TrashDescription[]> {
    if (this.templates === undefined) return []
    const done = await executeTrashOrder(this.templates, order)
    if (order.verb !== 'list') this.#log.info({ ...order, done }, 'the trash was changed')
    return done
  }

  /**
   * Stops accepting connections, lets running requests finish (for a while), flushes and releases the layers.
   * Returns the exit status: 0, or 1 if something could not be flushed, which is logged.
   */
  async close(graceMs: number = GRACE_MS): Promise<number> {
    let status = 0
    this.ready = false
    this.stopKeepingMemory()
    this.history.stop()
    this.tls?.stop()
    const step = async (what: string, work: () => Promise<unknown>) => {
      try {
        await work()
      } catch (error) {
        status = 1
        this.#log.error({ err: error }, `${what} failed while stopping`)
      }
    }
    await step('removing the run files', () => removeRunFiles(this.publishedFiles))
    await step('stopping the jobs', () => this.jobs.close())
    await Promise.all([
      step('closing the admin listener', async () => this.admin?.close()),
      step('closing the metrics listener', async () => this.metrics?.close()),
      step('closing NFS', async () => this.nfs?.close()),
      step('closing HTTP', () => this.#closeHttp(graceMs)),
      step('closing the boot door', async () => this.boot?.close()),
    ])
    this.replyMemory?.close()
    await step('closing WebDAV', async () => this.webdav?.close())
    for (const journal of [...this.lockJournals.values(), ...this.journals])
      await step('closing the lock journal', () => journal.close())
    await step('closing the login', async () => this.login?.close())
    await step('closing the views', async () => this.templates?.close())
    await step('flushing', () => this.views.close())
    this.#log.info('stopped')
    return status
  }

  async #closeHttp(graceMs: number): Promise<void> {
    if (this.http === undefined) return
    const { app, stopAccepting } = this.http
    const timer = setTimeout(() => app.server.closeAllConnections(), graceMs)
    await Promise.all([stopAccepting(), app.close()])
    clearTimeout(timer)
  }
}
