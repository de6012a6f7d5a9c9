import type { Logger } from 'pino'
import {
  type ConfigRequest,
  formatProblems,
  type LoginSettings,
  type Settings,
  type ViewSettings,
} from '../config/index.ts'
import { limitCaches, OptionError } from '../overlay-core/index.ts'
import { loadConfig } from './config-file.ts'
import { LiveViews } from './live-views.ts'
import { setLevel } from './log.ts'
import { knowsQuotas, loginWarnings } from './open-login.ts'
import { mostOpenViews } from './registry/open-templates.ts'
import type { RunningServer } from './running-server.ts'

/** The result of reading the configuration file again. */
export interface ReloadReport {
  /** Why nothing has changed, one error per line; undefined if the file is valid. */
  readonly refused?: string
  /** The changes that are now in effect. */
  readonly applied: readonly string[]
  /** Changes in the file that have no effect until a restart. */
  readonly restart: readonly string[]
  /** Changes that failed. */
  readonly failed: readonly string[]
}

const NOTHING: ReloadReport = { applied: [], restart: [], failed: [] }

/** The names in the file of settings that only take effect at the start. */
const AT_START: { readonly [Key in keyof Settings]?: string } = {
  webdav: 'webdav.listen',
  nfs: 'nfs.listen',
  tls: 'tls',
  boot: 'boot',
  metrics: 'metrics.listen',
  admin: 'admin',
  as: 'webdav.as',
  locks: 'webdav.locks',
  symlinks: 'webdav.symlinks',
  depthInfinity: 'webdav.depth_infinity',
  insecureNoAuth: 'webdav.insecure_no_auth',
  login: 'login',
  publicUrls: 'webdav.public_urls',
  trustedProxies: 'webdav.trusted_proxies',
  rpcbind: 'nfs.rpcbind',
  portmap: 'nfs.portmap',
  lockGraceMs: 'nfs.lock_grace',
  manageGids: 'nfs.manage_gids',
  stateDir: 'server.state_dir',
  readyFile: 'server.ready_file',
}

/** Reads the configuration file of a running server again and applies what can be applied without disturbing a client. */
export class Reloader {
  readonly #request: ConfigRequest
  readonly #log: Logger
  /** The settings in effect. */
  #present: Settings
  #last: Promise<unknown> = Promise.resolve()

  constructor(request: ConfigRequest, present: Settings, log: Logger) {
    this.#request = request
    this.#present = present
    this.#log = log
  }

  /** Reloads are serialized. Never rejects: errors are in the report and in the log. */
  reload(server: RunningServer): Promise<ReloadReport> {
    const report = this.#last.then(() => this.#reload(server))
    this.#last = report
    return report
  }

  async #reload(server: RunningServer): Promise<ReloadReport> {
    const next = await this.#read()
    if (typeof next === 'string') {
      this.#log.error({ errors: next }, 'the configuration file has errors: nothing has changed')
      return { ...NOTHING, refused: next }
    }
    const report = { applied: [] as string[], restart: this.#needsRestart(next, server), failed: [] as string[] }
    if (next.logLevel !== this.#present.logLevel) {
      setLevel(this.#log, next.logLevel)
      report.applied.push(`log.level = "${next.logLevel}"`)
    }
    if (!isSame(next.userQuota, this.#present.userQuota)) {
      server.templates?.users.setLimits(next.userQuota)
      report.applied.push('users')
    }
    if (!isSame(limitsInForce(next), limitsInForce(this.#present))) {
      await limitCaches(next.limits ?? {})
      if (server.templates !== undefined) server.templates.pool.mostOpen = mostOpenViews(next.limits)
      report.applied.push('limits')
    }
    await this.#changeLogin(next, server, report)
    this.#changeMachines(next, server, report)
    const { httpConnections, nfsConnections } = this.#present.limits ?? {}
    const limits = { ...next.limits, httpConnections, nfsConnections }
    this.#present = { ...this.#present, logLevel: next.logLevel, userQuota: next.userQuota, limits }
    await this.#changeViews(next.views, server, report)
    this.#log.warn(report, 'the configuration file was read again')
    return report
  }

  /** Takes other accounts, roles, names and proxies. Whoever is logged in stays so; what cannot be used changes nothing. */
  async #changeLogin(next: Settings, server: RunningServer, report: Report): Promise<void> {
    const { login, publicUrls, trustedProxies } = this.#present
    if (login === undefined || next.login === undefined || server.login === undefined) return
    const changed = [
      ...(isSame(lastingOf(next.login, login), login) ? [] : ['login']),
      ...(isSame(next.publicUrls, publicUrls) ? [] : ['webdav.public_urls']),
      ...(isSame(next.trustedProxies, trustedProxies) ? [] : ['webdav.trusted_proxies']),
    ]
    if (changed.length === 0) return
    const wanted = lastingOf(next.login, login)
    await this.#apply(changed.join(', '), report, async () => {
      if (!isSame(wanted, login)) await server.login?.change(wanted)
      server.webLogin?.change(next)
      const { publicUrls, trustedProxies } = next
      this.#present = { ...this.#present, login: wanted, publicUrls, trustedProxies }
      for (const warning of loginWarnings(this.#present)) this.#log.warn(warning)
    })
  }

  /** Takes another list of machines, and other rules for them. */
  #changeMachines({ boot }: Settings, { machines }: RunningServer, report: Report): void {
    const present = this.#present.boot
    if (boot === undefined || present === undefined || machines === undefined || isSame(boot, present)) return
    const { listen, views } = present
    const wanted = { ...boot, listen, views }
    if (isSame(wanted, present)) return
    machines.change(wanted)
    this.#present = { ...this.#present, boot: wanted }
    report.applied.push('boot, machines, groups')
  }

  /** The settings of the file, or its errors. */
  async #read(): Promise<Settings | string> {
    try {
      const { settings, problems } = await loadConfig(this.#request)
      return settings ?? formatProblems(problems.list())
    } catch (error) {
      if (error instanceof OptionError) return `${error.message}\n`
      this.#log.error({ err: error }, 'reading the configuration file failed')
      return 'the file could not be read; the log of the server says why\n'
    }
  }

  #needsRestart(next: Settings, { login }: RunningServer): string[] {
    const present = this.#present
    const bothLogIn = present.login !== undefined && next.login !== undefined
    const bothBoot = present.boot !== undefined && next.boot !== undefined
    const changed = Object.entries(AT_START).filter(
      ([key]) =>
        !(bothLogIn && LOGIN_KEYS.has(key)) &&
        !(bothBoot && key === 'boot') &&
        !isSame(present[key as keyof Settings], next[key as keyof Settings]),
    )
    const connections = {
      httpConnections: 'limits.http_connections',
      nfsConnections: 'limits.nfs_connections',
    } as const
    const other = (['httpConnections', 'nfsConnections'] as const).filter(
      (key) => present.limits?.[key] !== next.limits?.[key],
    )
    return [
      ...changed.map(([, name]) => name),
      ...(bothLogIn ? loginAtStart(present.login, next.login, login?.hasQuotas === true) : []),
      ...(bothBoot ? (['listen', 'views'] as const) : [])
        .filter((key) => !isSame(present.boot?.[key], next.boot?.[key]))
        .map((key) => `boot.${key}`),
      ...other.map((key) => connections[key]),
      ...next.views.flatMap((view) => {
        const before = present.views.find(({ name }) => name === view.name)
        return before === undefined ? [] : movedOf(before, view)
      }),
    ]
  }

  /** Removes, changes and adds views. One that fails stays as it was and is tried again at the next reload. */
  async #changeViews(next: readonly ViewSettings[], server: RunningServer, report: Report): Promise<void> {
    const live = new LiveViews(server, this.#present, this.#log)
    for (const { name } of this.#present.views) {
      if (next.some((view) => view.name === name)) continue
      await this.#apply(`views.${name} (removed)`, report, async () => {
        await live.remove(name)
        this.#note(name, undefined)
      })
    }
    for (const view of next) {
      const { name } = view
      const before = this.#present.views.find((each) => each.name === name)
      if (before === undefined || server.views.get(name) === undefined) {
        await this.#apply(`views.${name} (new)`, report, async () => {
          await live.add(view)
          this.#note(name, view)
        })
      } else if (movedOf(before, view).length === 0) await this.#change(before, view, live, report)
    }
    await server.publishViews()
  }

  async #change(before: ViewSettings, view: ViewSettings, live: LiveViews, report: Report): Promise<void> {
    const { name, mount, template } = view
    let present = before
    if (!isSame(stackOf(before), stackOf(view)))
      await this.#apply(`views.${name}`, report, async () => {
        await live.change(view)
        present = { ...present, mount, template }
        this.#note(name, present)
      })
    if (!isSame(reachOf(before), reachOf(view)))
      await this.#apply(`exports of ${name}`, report, async () => {
        await live.reexport({ ...view, mount: present.mount, template: present.template })
        this.#note(name, { ...present, ...reachOf(view) })
      })
  }

  async #apply(what: string, report: Report, change: () => Promise<void>): Promise<void> {
    try {
      await change()
      report.applied.push(what)
    } catch (error) {
      if (!(error instanceof OptionError)) this.#log.error({ err: error }, `${what}: this change failed`)
      report.failed.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** Records the settings in effect of a view. */
  #note(name: string, settings: ViewSettings | undefined): void {
    const others = this.#present.views.filter((view) => view.name !== name)
    this.#present = { ...this.#present, views: settings === undefined ? others : [...others, settings] }
  }
}

/** What takes effect at once if there is a login before and after. */
const LOGIN_KEYS = new Set(['login', 'publicUrls', 'trustedProxies'])

/** The settings of a login as they can take effect while it runs: what files belong to stays as it is. */
function lastingOf(next: LoginSettings, present: LoginSettings): LoginSettings {
  return { ...next, ids: present.ids }
}

/** What of a login only takes effect at the start. */
function loginAtStart(present: LoginSettings, next: LoginSettings, hasQuotas: boolean): string[] {
  return [
    ...(isSame(present.ids, next.ids) ? [] : ['login.ids']),
    ...(knowsQuotas(next) && !hasQuotas ? ['ldap.quota_attribute'] : []),
  ]
}

type Report = { readonly [Key in 'applied' | 'restart' | 'failed']: string[] }

/** The limits that can change while the server runs. */
function limitsInForce({ limits }: Settings): unknown {
  return { ...limits, httpConnections: undefined, nfsConnections: undefined }
}

/** What cannot change while a view is served: where its changes are stored. */
function movedOf(before: ViewSettings, next: ViewSettings): string[] {
  const place = ({ mount, template }: ViewSettings) => [
    mount?.upperdir,
    mount?.workdir,
    template?.directory,
    template?.kind,
    template?.ephemeral,
    template?.quotaBy,
  ]
  return isSame(place(before), place(next)) ? [] : [`views.${next.name} (its upper)`]
}

/** The stack of a view, and the rules for views of a template. */
function stackOf({ mount, template }: ViewSettings): unknown {
  return { mount, template }
}

/** Who can reach a view, and as which user. */
function reachOf({ exports, exportsGiven, doors, as }: ViewSettings) {
  return { exports, exportsGiven, doors, as } as Pick<ViewSettings, 'exports' | 'exportsGiven' | 'doors' | 'as'>
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
