import type { Settings, ViewSettings } from '../config/index.ts'
import { actsAsRoot, parseOptions } from '../overlay-core/index.ts'
import { webdavCred } from './identity.ts'
import { makeSampleDirs } from './state-dir.ts'
import type { ResolvedViewSettings } from './views.ts'

/** The views to open. Creates the directories of the sample. */
export function planViews(settings: Settings): Promise<ResolvedViewSettings[]> {
  return Promise.all(
    settings.views.map(async (view) => {
      if (view.mount !== undefined) return { settings: view, options: view.mount }
      const { lower, upper, work } = await makeSampleDirs(
        settings.stateDir,
        actsAsRoot() ? await webdavCred(settings.as) : undefined,
      )
      const options = parseOptions(`lowerdir+=${escaped(lower)},upperdir=${escaped(upper)},workdir=${escaped(work)}`, {
        cwd: '/',
        privileged: actsAsRoot(),
      })
      return { settings: sampleExports(view), options }
    }),
  )
}

/** Escapes a path for use inside `-o`. */
function escaped(path: string): string {
  return path.replace(/[\\,]/g, '\\$&')
}

/**
 * If a user other than root tries the sample, every NFS client on this machine acts as that user, as WebDAV does. A server run by root keeps
 * the default, because anyone on the machine can send it packets.
 */
function sampleExports(view: ViewSettings): ViewSettings {
  const uid = process.geteuid?.() ?? 0
  if (actsAsRoot() || view.exportsGiven) return view
  return {
    ...view,
    exports: [`127.0.0.1(rw,all_squash,anonuid=${uid},anongid=${process.getegid?.() ?? uid},insecure,sync)`],
  }
}
