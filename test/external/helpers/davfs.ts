import { join } from 'node:path'
import type { Mounted } from './kernel-overlay.ts'
import type { Scratch } from './scratch.ts'
import { quote } from './shell.ts'

/** A davfs2 mount. */
export interface DavfsMount extends Mounted {
  /** Takes the mount away, which uploads what is still to be uploaded, and makes it anew with an empty cache. */
  remount(): Promise<void>
  /** The same with the cache kept, as when a machine is started again. */
  reopen(): Promise<void>
}

/** davfs2 as it comes, but for the size of its buffer: with locks, uploads ten seconds after close, listings believed for a minute. */
export const DAVFS_DEFAULTS: readonly string[] = ['ask_auth 0', 'buf_size 64']

/**
 * Mounts `url` with davfs2 on the folder `name` of the scratch folder, with a configuration, secrets and cache of its own.
 * With `options` its configuration is these lines and no others. `login` goes into the file of secrets. It believes a listing for `dirRefreshSec`. Files are uploaded as soon as they are closed, but close(2) does not wait: unmount or remount before looking elsewhere.
 */
export async function mountDavfs(
  scratch: Scratch,
  name: string,
  url: string,
  dirRefreshSec = 1,
  options?: readonly string[],
  login?: { readonly name: string; readonly password: string },
): Promise<DavfsMount> {
  const path = join(scratch.path, name)
  const settings = join(scratch.path, `${name}.davfs2`)
  const cache = join(settings, 'cache')
  // buf_size: kernels from 6.16 on answer EINVAL to readdir with the default of 16.
  const quick = [
    'cache_size 512',
    'buf_size 64',
    'ask_auth 0',
    'delay_upload 0',
    `dir_refresh ${dirRefreshSec}`,
    'table_size 65536',
    'file_refresh 0',
    'gui_optimize 0',
  ]
  const conf = [`secrets ${settings}/secrets`, `cache_dir ${cache}`, ...(options ?? quick)]
  await scratch.sh(`
    mkdir -p ${quote(path)} ${quote(cache)}; chgrp davfs2 ${quote(cache)}; chmod 775 ${quote(cache)}
    printf '%s\\n' ${conf.map(quote).join(' ')} > ${quote(settings)}/conf
    printf '%s' ${quote(login === undefined ? '' : `${path} ${login.name} ${login.password}\n`)} > ${quote(settings)}/secrets
    chmod 600 ${quote(settings)}/secrets`)
  let daemon: { readonly pid: number; readonly ended: () => void } | undefined
  const mount = async () => {
    await scratch.sh(`mount -t davfs -o ${quote(`conf=${settings}/conf,uid=0,gid=0`)} ${quote(url)} ${quote(path)}`)
    // On a busy machine `mount` may be back before the daemon has said who it is.
    const file = quote(pidFile(path))
    const pid = Number(
      await scratch.sh(`timeout 20 sh -c 'until [ -s "$1" ]; do sleep 0.02; done' sh ${file}; cat ${file}`),
    )
    // The daemon leads a group of its own.
    daemon = { pid, ended: scratch.killAtEnd(pid) }
  }
  const unmount = async () => {
    if (daemon === undefined) return
    const { pid, ended } = daemon
    daemon = undefined
    // umount.davfs would wait for the daemon in steps of three seconds.
    await scratch.sh(`umount -i ${quote(path)}; tail --pid=${pid} -s 0.05 -f /dev/null`, 180_000)
    ended()
  }
  await mount()
  scratch.defer(unmount)
  const remount = async () => {
    await unmount()
    await scratch.sh(`find ${quote(cache)} -mindepth 1 -delete`)
    await mount()
  }
  const reopen = async () => {
    await unmount()
    await mount()
  }
  return { path, unmount, remount, reopen }
}

function pidFile(path: string): string {
  return `/var/run/mount.davfs/${path.slice(1).replaceAll('/', '-')}.pid`
}
