import type { Logger } from 'pino'
import type { BootSettings, ResolvedMachine } from '../../config/index.ts'
import { OptionError, type Overlay } from '../../overlay-core/index.ts'
import type { Template } from '../registry/template.ts'
import { versionsOfNew } from '../registry/template-lowers.ts'
import type { TemplateView } from '../registry/template-view.ts'
import type { Templates } from '../registry/templates.ts'
import { findKernel } from './kernel-files.ts'
import type { Machines } from './machines.ts'
import { seedFiles } from './seed-files.ts'
import { siteFiles } from './site-files.ts'
import { removeClonedKeys, writeSeeds } from './write-seeds.ts'

/** The names of the snapshots that the policy takes. */
const SNAPSHOT_PREFIX = 'boot-'

/** What preparing a view needs. */
export interface PrepareParts {
  readonly templates: Templates
  readonly machines: Machines
  readonly log: Logger
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
}

/** Where a machine boots. */
export interface BootPlace {
  readonly view: string
  readonly address: string
  /** The address of the server for this machine. */
  readonly server: string
}

/** Makes the views of machines ready for a boot. */
export class ViewPreparer {
  readonly #parts: PrepareParts

  constructor(parts: PrepareParts) {
    this.#parts = parts
  }

  /**
   * Makes the view of a machine if there is none, does what its policy says, and writes the seeds. The view is durable when it resolves.
   *
   * @throws OptionError it cannot be made ready
   */
  async prepare(machine: ResolvedMachine, { view: name, address, server }: BootPlace): Promise<TemplateView> {
    const { templates, machines } = this.#parts
    const template = templates.get(name)
    if (template === undefined) throw new OptionError('boot', `the view ${name} is not served; see the log`)
    const known = template.byName(machine.name)
    const view = known === undefined ? await template.create(machine.name) : await this.#obey(machine, template, known)
    const { mac, uuid, serial } = machine
    const values = { name: machine.name, mac, uuid, serial, address, server, view: name }
    const files = seedFiles(machine, await machines.secretsOf(machine.name))
    for (const directory of machine.files) files.push(...(await siteFiles(directory, values)))
    await withOverlay(view, async (overlay) => {
      if (machine.seeds.includes('ssh-keys')) await removeClonedKeys(overlay)
      const left = await writeSeeds(overlay, files)
      if (left.length > 0)
        this.#parts.log.warn(
          { machine: machine.name, left },
          'some seeds were not written: the machine has something else in their place',
        )
    })
    await this.#letGo(machine, template, view)
    return view
  }

  /** Lets go of what a machine that is reset at each boot had before. */
  async #letGo({ policy }: ResolvedMachine, { snapshots }: Template, view: TemplateView): Promise<void> {
    if (policy !== 'reset-at-boot') return
    const before = (view.record.snapshots ?? []).filter(({ name }) => name.startsWith('before-reset-'))
    for (const { name } of before) await snapshots.remove(view, name, { forGood: true })
  }

  async #obey({ policy, name }: ResolvedMachine, template: Template, view: TemplateView): Promise<TemplateView> {
    if (policy === 'keep') return view
    const { ephemeral } = template.settings
    const pinned = this.#parts.machines.record(name)?.pinned === true
    const anew =
      policy !== 'snapshot-at-boot' && !pinned && isOutdated(template, view) && !view.record.snapshots?.length
    // A new view lies on the newest version of its layers.
    if (ephemeral || anew) {
      await template.remove(view)
      await this.#parts.templates.pool.hooks.removed(view.record.id)
      return await template.create(name)
    }
    if (policy === 'snapshot-at-boot') await this.#snapshot(template, view)
    // What was there is let go of after the boot (`#letGo`): a new directory must not get the inode number of an old one, whose handles are known.
    else await template.snapshots.reset(view, false)
    return view
  }

  /** Takes a snapshot, and removes old ones. A machine shall boot without one rather than not at all. */
  async #snapshot({ snapshots }: Template, view: TemplateView): Promise<void> {
    const { log, machines, wallNow } = this.#parts
    try {
      const { settings }: { settings: BootSettings } = machines
      const time = new Date(wallNow()).toISOString().slice(0, 19).replaceAll(':', '')
      const own = (view.record.snapshots ?? []).filter((each) => each.name.startsWith(SNAPSHOT_PREFIX))
      if (!own.some((each) => each.name === SNAPSHOT_PREFIX + time)) await snapshots.take(view, SNAPSHOT_PREFIX + time)
      const old = own.slice(0, Math.max(0, own.length + 1 - settings.keepSnapshots))
      for (const each of old) await snapshots.remove(view, each.name)
    } catch (error) {
      log.error({ err: error, view: view.path }, 'the snapshot at boot was not taken')
    }
  }
}

/** Whether there are newer versions of the layers of a view, which new views lie on. */
export function isOutdated({ settings }: Template, { record: { versions = {} } }: TemplateView): boolean {
  return Object.entries(versionsOfNew(settings) ?? {}).some(([layer, version]) => versions[layer] !== version)
}

/** Uses the overlay of a view while `work` runs. */
export async function withOverlay<T>(view: TemplateView, work: (overlay: Overlay) => Promise<T>): Promise<T> {
  const overlay = await view.use()
  try {
    return await work(overlay)
  } finally {
    view.release()
  }
}

/** The kernel of a view. @throws OptionError it has none */
export async function kernelOf(view: TemplateView, machine: ResolvedMachine) {
  const found = await withOverlay(view, (overlay) => findKernel(overlay, machine))
  if (typeof found === 'string') throw new OptionError('boot', `${view.path}: ${found}`)
  return found
}
