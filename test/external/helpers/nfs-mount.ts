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

/** Mounts an overlayd's export on `path` of the kernel client, as `mount -t nfs` does; `more` options as there; with `vers=4.…` among them by version 4. */
export async function mountNfs(
  client: KernelClient,
  nfs: Overlayd['nfs'],
  path: string,
  more: readonly string[] = [],
): Promise<NfsMount> {
  // retry=0: a server that is not there is an error now, not after two minutes.
  const isFour = more.some((word) => word.startsWith('vers=4'))
  const ofThree = isFour ? [] : ['vers=3', 'nolock', `mountport=${nfs.port}`]
  const words = ['retry=0', 'proto=tcp', `port=${nfs.port}`, ...ofThree, ...more.filter((word) => word !== 'vers=3')]
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
