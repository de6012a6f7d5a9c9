import type { Settings, ViewSettings } from '../config/index.ts'
import { parseOptions } from '../overlay-core/index.ts'
import { webdavCred } from './identity.ts'
import { makeSampleDirs } from './state-dir.ts'
import type { ResolvedViewSettings } from './views.ts'

/** The views to open, those of the sample with their directories made. */
export function planViews(settings: Settings): Promise<ResolvedViewSettings[]> {
  return Promise.all(
    settings.views.map(async (view) => {
      if (view.mount !== undefined) return { settings: view, options: view.mount }
      const { lower, upper, work } = await makeSampleDirs(
        settings.stateDir,
        process.geteuid?.() === 0 ? await webdavCred(settings.as) : undefined,
      )
      const options = parseOptions(`lowerdir+=${escaped(lower)},upperdir=${escaped(upper)},workdir=${escaped(work)}`)
      return { settings: sampleExports(view), options }
    }),
  )
}

/** A path as a value inside `-o`. */
function escaped(path: string): string {
  return path.replace(/[\\,]/g, '\\$&')
}

/**
 * For a person trying it without root every NFS client on this machine acts as that person, as WebDAV does. A server run by root keeps
 * the default: anyone on the machine can send it packets.
 */
function sampleExports(view: ViewSettings): ViewSettings {
  const uid = process.geteuid?.() ?? 0
  if (uid === 0 || view.exportsGiven) return view
  return {
    ...view,
    exports: [`127.0.0.1(rw,all_squash,anonuid=${uid},anongid=${process.getegid?.() ?? uid},insecure,sync)`],
  }
}
