import type { Logger } from 'pino'
import type { Settings, ViewSettings } from '../config/index.ts'
import { type MountOptions, OptionError } from '../overlay-core/index.ts'
import { exportOf } from './nfs-listener.ts'
import type { RunningServer } from './running-server.ts'
import { isServedBy, type View } from './views.ts'

/** Adds, changes and removes views of a running server, without disturbing the clients of others. */
export class LiveViews {
  readonly #server: RunningServer
  readonly #settings: Settings
  readonly #log: Logger

  /** `settings`: those of the server, apart from its views. */
  constructor(server: RunningServer, settings: Settings, log: Logger) {
    this.#server = server
    this.#settings = settings
    this.#log = log
  }

  /** Mounts and serves one more view or template. Nothing is left after an error. @throws OptionError */
  async add(settings: ViewSettings): Promise<void> {
    const { views, templates } = this.#server
    const view = await views.addChecked({ settings, options: settings.mount as MountOptions })
    try {
      await templates?.add(settings)
      await this.#serve(view)
    } catch (error) {
      await this.remove(settings.name)
      throw error
    }
  }

  /** Stops serving a view or template, and closes it: its handles become stale, and running calls on it fail. */
  async remove(name: string): Promise<void> {
    const { views, templates } = this.#server
    await this.#endAt('nfs', name)
    await this.#endAt('webdav', name)
    await templates?.remove(name)
    await views.remove(name)
  }

  /** Serves a view to other clients, or as another user. @throws OptionError */
  async reexport(settings: ViewSettings): Promise<void> {
    await this.#serve(this.#server.views.update(settings))
  }

  /** Gives a view other layers and options, and a template and its open views other settings. @throws OptionError · AggregateError of some views */
  async change({ name, mount, template }: ViewSettings): Promise<void> {
    const { views, templates } = this.#server
    await views.change(name, mount as MountOptions)
    if (template === undefined) return
    const errors = (await templates?.get(name)?.change(template)) ?? []
    const [first] = errors
    if (first !== undefined)
      throw new OptionError('views', `${errors.length} open views kept their stack: ${(first as Error).message}`)
  }

  async #serve(view: View): Promise<void> {
    const { nfs } = this.#server
    if (isServedBy('webdav', view)) {
      const { serveWebdav } = await import('./webdav-listener.ts')
      await serveWebdav(this.#server, this.#settings, view, this.#log)
    } else {
      await this.#endAt('webdav', view.name)
    }
    if (isServedBy('nfs', view)) await nfs?.serve(exportOf(this.#server, this.#settings, view))
    else await this.#endAt('nfs', view.name)
  }

  async #endAt(door: 'nfs' | 'webdav', name: string): Promise<void> {
    if (door === 'nfs') this.#server.nfs?.end(name)
    else if (this.#server.webdav !== undefined)
      await (await import('./webdav-listener.ts')).endWebdav(this.#server, name)
  }
}
