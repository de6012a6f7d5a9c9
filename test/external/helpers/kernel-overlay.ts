import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Layers } from './layers.ts'
import type { Scratch } from './scratch.ts'
import { quote, ShellError } from './shell.ts'

/** For how long an earlier mount of the same upper may last in the mount namespace of another test that began meanwhile. */
const BUSY_MS = 60_000

/** A mount that a test made, and its way out. */
export interface Mounted {
  readonly path: string
  unmount(): Promise<void>
}

/**
 * Mounts the layers with the kernel's own overlayfs on the folder `name` of the scratch folder, read-only when they have no upper.
 * overlayd must have let go of the upper.
 *
 * @throws Error the kernel refuses, with what mount(8) and the kernel's log say
 */
export async function mountKernelOverlay(
  scratch: Scratch,
  name: string,
  layers: Pick<Layers, 'lowerdir'> & Partial<Layers>,
  options: readonly string[] = ['redirect_dir=on', 'index=on', 'metacopy=off'],
): Promise<Mounted> {
  const path = join(scratch.path, name)
  const all = [`lowerdir=${layers.lowerdir.join(':')}`]
  if (layers.upperdir !== undefined) all.push(`upperdir=${layers.upperdir}`, `workdir=${layers.workdir}`, ...options)
  const command = `mkdir -p ${quote(path)} && mount -t overlay overlay -o ${quote(all.join(','))} ${quote(path)}`
  for (const giveUp = Date.now() + BUSY_MS; ; await pause(500)) {
    try {
      await scratch.sh(command)
      break
    } catch (error) {
      if (!(error instanceof ShellError)) throw error
      if (error.output.includes('already mounted') && Date.now() < giveUp) continue
      const log = await scratch.sh('dmesg | grep -i overlay | tail -5 || :')
      throw new Error(`the kernel refuses the layers (${all.join(',')}): ${error.output}\n${log}`)
    }
  }
  const unmount = async () => {
    await scratch.sh(`if mountpoint -q ${quote(path)}; then umount ${quote(path)}; fi`)
  }
  scratch.defer(unmount)
  return { path, unmount }
}
