import { OptionError } from '../../overlay-core/index.ts'
import { systemClock } from '../clock.ts'
import { systemRandom } from '../random.ts'
import type { Templates } from '../registry/templates.ts'
import type { Views } from '../views.ts'
import type { LayerRequestParts } from './layer-requests.ts'
import { layerUses } from './layer-uses.ts'
import type { LayerProgress } from './make-version.ts'
import type { LayerVersion } from './version-record.ts'
import { VersionStore } from './version-store.ts'

/** What a running server knows about layers. */
export interface LayerServer {
  readonly views: Views
  readonly templates: Templates | undefined
  /** The directory of the layer store; undefined where there is no configuration file. */
  readonly layerDirectory: string | undefined
}

/** How the work on layers is watched. */
export interface LayerWatch {
  readonly signal: AbortSignal
  progress(progress: LayerProgress): void
}

/** The parts with which a running server executes requests about layers. @throws OptionError naming `layer`: it has no layer store */
export function layerPartsOf(server: LayerServer, { signal, progress }: LayerWatch): LayerRequestParts {
  const { layerDirectory, views, templates } = server
  if (layerDirectory === undefined)
    throw new OptionError(
      'layer',
      'this server has no configuration file, so it has no layer store; use overlayd serve',
    )
  return {
    store: new VersionStore(layerDirectory),
    random: systemRandom,
    wallNow: systemClock,
    signal,
    progress,
    uses: () =>
      layerUses(
        views.list().map(({ settings }) => settings),
        templates,
      ),
    published: (version) => useNewest(templates, version),
  }
}

/** Lets views that templates make from now on lie on a new version. */
function useNewest(templates: Templates | undefined, { layer, version }: LayerVersion): void {
  for (const template of templates?.list() ?? []) template.useNewest(layer, version)
}
