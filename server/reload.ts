import type { Logger } from 'pino'
import { type ConfigRequest, formatProblems, type Settings, type ViewSettings } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { loadConfig } from './config-file.ts'
import { setLevel } from './log.ts'
import type { Views } from './views.ts'

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
  as: 'webdav.as',
  locks: 'webdav.locks',
  symlinks: 'webdav.symlinks',
  depthInfinity: 'webdav.depth_infinity',
  insecureNoAuth: 'webdav.insecure_no_auth',
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
  reload(views: Views): Promise<ReloadReport> {
    const report = this.#last.then(() => this.#reload(views))
    this.#last = report
    return report
  }

  async #reload(views: Views): Promise<ReloadReport> {
    const next = await this.#read()
    if (typeof next === 'string') {
      this.#log.error({ errors: next }, 'the configuration file has errors: nothing has changed')
      return { ...NOTHING, refused: next }
    }
    const report = { applied: [] as string[], restart: this.#needsRestart(next), failed: [] as string[] }
    if (next.logLevel !== this.#present.logLevel) {
      setLevel(this.#log, next.logLevel)
      report.applied.push(`log.level = "${next.logLevel}"`)
    }
    this.#present = { ...this.#present, logLevel: next.logLevel }
    for (const view of next.views) await this.#remount(view, views, report)
    this.#log.warn(report, 'the configuration file was read again')
    return report
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

  #needsRestart(next: Settings): string[] {
    const present = this.#present
    const changed = Object.entries(AT_START).filter(
      ([key]) => !isSame(present[key as keyof Settings], next[key as keyof Settings]),
    )
    const names = changed.map(([, name]) => name)
    for (const view of next.views) {
      const before = present.views.find(({ name }) => name === view.name)
      if (before === undefined) names.push(`views.${view.name} (new)`)
      else if (!isSame(reachOf(before), reachOf(view))) names.push(`exports of ${view.name}`)
    }
    for (const { name } of present.views)
      if (!next.views.some((view) => view.name === name)) names.push(`views.${name} (removed)`)
    return names
  }

  /** Remounts an open view with the layers and options that the file now has. */
  async #remount(view: ViewSettings, views: Views, report: { applied: string[]; failed: string[] }): Promise<void> {
    const before = this.#present.views.find(({ name }) => name === view.name)
    if (before === undefined || view.mount === undefined || isSame(before.mount, view.mount)) return
    try {
      await views.change(view.name, view.mount)
      const kept = this.#present.views.map((each) => (each === before ? { ...each, mount: view.mount } : each))
      this.#present = { ...this.#present, views: kept }
      report.applied.push(`views.${view.name}`)
    } catch (error) {
      if (!(error instanceof OptionError)) this.#log.error({ err: error, view: view.name }, 'a remount failed')
      report.failed.push(`views.${view.name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

/** Who can reach a view, and as which user. */
function reachOf({ exports, doors, as, make }: ViewSettings): unknown {
  return { exports, doors, as, make }
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
