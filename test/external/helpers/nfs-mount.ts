import type { KernelClient } from './kernel-client.ts'
import type { Overlayd } from './overlayd.ts'
import { quote, type Shell } from './shell.ts'

/** An NFS mount in the kernel client. */
export interface NfsMount {
  readonly path: string
  /** A shell of the kernel client, in the root of the mount. */
  readonly sh: Shell
  unmount(): Promise<void>
  /** Mounts anew, so that nothing comes from the client's caches. */
  remount(): Promise<void>
}

/** Mounts an overlayd's export on `path` of the kernel client, as `mount -t nfs` does; `more` options as there. */
export async function mountNfs(
  client: KernelClient,
  nfs: Overlayd['nfs'],
  path: string,
  more: readonly string[] = [],
): Promise<NfsMount> {
  // retry=0: a server that is not there is an error now, not after two minutes.
  const words = ['retry=0', 'vers=3', 'proto=tcp', 'nolock', `port=${nfs.port}`, `mountport=${nfs.port}`, ...more]
  const options = words.join(',')
  const mount = async () => {
    await client.sh(`mkdir -p ${quote(path)} && mount.nfs 10.0.2.2:${quote(nfs.export)} ${quote(path)} -o ${options}`)
  }
  const unmount = async () => {
    await client.sh(`umount ${quote(path)}`, 300_000)
  }
  await mount()
  return {
    path,
    sh: (script, timeoutMs) => client.sh(`cd ${quote(path)}\n${script}`, timeoutMs),
    unmount,
    remount: async () => {
      await unmount()
      await mount()
    },
  }
}
