import type { StackLayer } from '../../config/index.ts'
import { type MountOptions, mount, OptionError, type Overlay } from '../../overlay-core/index.ts'
import type { ServedViews } from '../diff/held-view.ts'
import { withoutUpper } from '../mount-view.ts'
import type { HeldLayers } from '../registry/snapshots.ts'
import { layersOn } from '../registry/template-lowers.ts'
import { splitPath, unknownView } from '../registry/view-requests.ts'
import { NAMES, pathOfVersion } from './version-record.ts'

/** What a view contains at one moment, which does not change until `release`. */
export interface HeldContent {
  readonly overlay: Overlay
  /** The layers below, without the changes of the view. */
  readonly base: Overlay
  /** The layers below, topmost first, with the versions of those that have one. */
  readonly lowers: readonly { readonly path: string; readonly layer: StackLayer | undefined }[]
  release(): Promise<void>
}

/**
 * Holds the content of `TEMPLATE/NAME`, which is frozen for that, of `TEMPLATE/NAME@SNAPSHOT`, or of a view that all clients share, which is read as it is.
 *
 * @throws OptionError naming `view`: there is none, or it cannot be frozen
 */
export async function holdContent(served: ServedViews, path: string): Promise<HeldContent> {
  if (!path.includes('/')) return await holdShared(served, path)
  if (served.templates === undefined) throw new OptionError('view', `there is no view ${path}; see overlayd view list`)
  const { template, name } = splitPath(served.templates, path)
  const at = template.byName(name) === undefined ? name.lastIndexOf('@') : -1
  const view = template.byName(at < 0 ? name : name.slice(0, at))
  if (view === undefined) throw unknownView(template, name)
  const { snapshots } = template
  const given = at < 0 ? undefined : name.slice(at + 1)
  const taken = given === undefined ? await snapshots.take(view, undefined) : undefined
  let held: HeldLayers | undefined
  const forget = async () => {
    held?.[Symbol.dispose]()
    if (taken) await snapshots.remove(view, taken.name)
  }
  try {
    held = await snapshots.hold(view, given ?? (taken?.name as string))
    const layers = layersOn(template.settings, view.record.versions)
    return await holdMounted(held.options, { overlay: undefined, layers }, forget)
  } catch (error) {
    await forget()
    throw error
  }
}

async function holdShared({ views, templates }: ServedViews, name: string): Promise<HeldContent> {
  const shared = templates?.get(name) === undefined ? views.get(name) : undefined
  if (shared === undefined) {
    const many = templates?.get(name) !== undefined
    const mend = many ? `name one of its views as ${name}/NAME` : 'see overlayd status'
    throw new OptionError(
      'view',
      `${many ? `${name} is a template` : `there is no view ${JSON.stringify(name)}`}; ${mend}`,
    )
  }
  const layers = (shared.settings.layers ?? []).filter((layer) => layer !== undefined)
  return await holdMounted(shared.overlay.options, { overlay: shared.overlay, layers }, async () => undefined)
}

async function holdMounted(
  options: MountOptions,
  { overlay, layers }: { readonly overlay: Overlay | undefined; readonly layers: readonly StackLayer[] },
  forget: () => Promise<void>,
): Promise<HeldContent> {
  const { frozen = 0, ...others } = options
  const lowerdir = options.lowerdir.slice(frozen)
  const open = overlay ?? (await mount(options))
  const close = async () => (overlay === undefined ? await open.unmount() : undefined)
  try {
    const base = await mount(withoutUpper({ ...others, lowerdir }))
    const lowers = lowerdir.map((path) => ({ path, layer: layerAt(path, layers) }))
    const release = async () => {
      await base.unmount()
      await close()
      await forget()
    }
    return { overlay: open, base, lowers, release }
  } catch (error) {
    await close()
    throw error
  }
}

/** The version of one of these layers that is at a path, whichever it is: a snapshot may lie on another one than its view. */
function layerAt(path: string, layers: readonly StackLayer[]): StackLayer | undefined {
  for (const layer of layers) {
    const [version = ''] = path.slice(`${layer.store}/${NAMES}/${layer.name}/`.length).split('/')
    if (version !== '' && path === pathOfVersion(layer.store, layer.name, version)) return { ...layer, version }
  }
  return undefined
}
