import { lstat, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { compareVersions } from '../boot/kernel-files.ts'
import { ImageFiles } from './image-files.ts'
import { initrdHas } from './initrd-words.ts'

/** What is wrong with an image. */
export interface Finding {
  /** `error`: machines cannot boot it. `warning`: something does not work, or is the same on all machines. `note`: good to know. */
  readonly level: 'error' | 'warning' | 'note'
  /** A path of the image. */
  readonly path: string
  /** What is wrong, then the mend. */
  readonly text: string
  /** Mends it; undefined if that is not safe. */
  readonly fix?: () => Promise<void>
}

/** Lists the file capabilities below a directory; undefined if the program for that is missing. */
export type ListCapabilities = (directory: string) => Promise<string | undefined>

/** What breaks if machines boot a directory over the network, and what each would have of all others. */
export async function lintImage(root: string, listCapabilities: ListCapabilities): Promise<Finding[]> {
  const files = new ImageFiles(root)
  const parts = [kernel(files), identity(files), fstab(files), network(files), logins(files), resume(files)]
  return [...(await Promise.all(parts)).flat(), ...(await capabilities(root, listCapabilities))]
}

async function kernel(files: ImageFiles): Promise<Finding[]> {
  const kernels = (await files.names('/boot')).filter((name) => name.startsWith('vmlinuz-'))
  const [newest] = kernels.sort((a, b) => compareVersions(b, a))
  if (newest === undefined)
    return [
      {
        level: 'error',
        path: '/boot',
        text: 'there is no kernel vmlinuz-*; install one, for example linux-image-amd64',
      },
    ]
  const version = newest.slice('vmlinuz-'.length)
  const names = await files.names('/boot')
  const initrd = [
    `initrd.img-${version}`,
    `initramfs-${version}.img`,
    `initrd-${version}`,
    `initramfs-${version}`,
  ].find((name) => names.includes(name))
  if (initrd === undefined)
    return [
      {
        level: 'warning',
        path: `/boot/${newest}`,
        text: `there is no initial RAM disk for ${version}; only a kernel with its network card and NFS built in boots without one: run update-initramfs -c -k ${version}`,
      },
    ]
  const path = `/boot/${initrd}`
  const real = await files.real(path)
  const knows = real === undefined ? undefined : await initrdHas(real, ['nfsmount', 'nfsroot', 'mount.nfs'])
  if (knows === true) return []
  if (knows === undefined)
    return [{ level: 'note', path, text: 'is packed in a way that is not read here; see yourself that it mounts NFS' }]
  return [
    {
      level: 'error',
      path,
      text: 'cannot mount NFS; install nfs-common and klibc-utils (Debian) or dracut-network, and make it anew',
    },
  ]
}

async function identity(files: ImageFiles): Promise<Finding[]> {
  const found: Finding[] = []
  if (((await files.text('/etc/machine-id')) ?? '').trim().length >= 32)
    found.push({
      level: 'warning',
      path: '/etc/machine-id',
      text: 'all machines would be the same one for DHCP and the journal, without the seed "machine-id"; empty it',
      fix: () => empty(files, '/etc/machine-id'),
    })
  for (const name of await files.names('/etc/ssh'))
    if (/^ssh_host_\w+_key$/.test(name))
      found.push({
        level: 'warning',
        path: `/etc/ssh/${name}`,
        text: 'all machines would have this host key, without the seed "ssh-keys"; remove it',
        fix: async () => {
          await remove(files, `/etc/ssh/${name}`)
          await remove(files, `/etc/ssh/${name}.pub`)
        },
      })
  const rules = '/etc/udev/rules.d/70-persistent-net.rules'
  if (await files.has(rules))
    found.push({
      level: 'warning',
      path: rules,
      text: 'names network cards of another machine; remove it',
      fix: () => remove(files, rules),
    })
  return found
}

async function fstab(files: ImageFiles): Promise<Finding[]> {
  const lines = ((await files.text('/etc/fstab')) ?? '').split('\n')
  const isDisk = (line: string) => /^\s*(UUID=|LABEL=|PARTUUID=|PARTLABEL=|\/dev\/)/.test(line)
  return lines.filter(isDisk).map((line) => ({
    level: 'warning',
    path: '/etc/fstab',
    text: `a disk that the machines do not have, without the seed "fstab": ${line.trim().replace(/\s+/g, ' ').slice(0, 80)}; remove the line`,
    fix: async () => {
      const now = ((await files.text('/etc/fstab')) ?? '').split('\n')
      await replace(files, '/etc/fstab', now.filter((each) => !isDisk(each)).join('\n'))
    },
  }))
}

async function network(files: ImageFiles): Promise<Finding[]> {
  const found: Finding[] = []
  const interfaces = (await files.text('/etc/network/interfaces')) ?? ''
  const [, card] = /^\s*(?:auto|allow-hotplug)\s+(?!lo\b)(\S+)/m.exec(interfaces) ?? []
  if (card !== undefined)
    found.push({
      level: 'warning',
      path: '/etc/network/interfaces',
      text: `${card} is configured once more at boot, which may interrupt the root; remove its lines, the kernel has configured it`,
    })
  const managers = [
    ['/usr/sbin/NetworkManager', 'NetworkManager'],
    ['/usr/sbin/connmand', 'ConnMan'],
    ['/usr/sbin/dhcpcd', 'dhcpcd'],
  ] as const
  for (const [path, name] of managers)
    if (await files.has(path))
      found.push({
        level: name === 'NetworkManager' ? 'note' : 'warning',
        path,
        text:
          name === 'NetworkManager'
            ? `${name} must leave the network card alone; the seed "shutdown" says so to it`
            : `${name} must leave the network card alone; remove it, or configure it so`,
      })
  return found
}

async function logins(files: ImageFiles): Promise<Finding[]> {
  const shadow = (await files.text('/etc/shadow')) ?? ''
  const open = shadow.split('\n').some((line) => /^[^:]+:(\$|:)/.test(line))
  if (shadow === '' || open) return []
  return [
    { level: 'note', path: '/etc/shadow', text: 'nobody has a password; set one, or give machines authorized_keys' },
  ]
}

async function resume(files: ImageFiles): Promise<Finding[]> {
  const path = '/etc/initramfs-tools/conf.d/resume'
  const text = (await files.text(path)) ?? ''
  if (!/^RESUME=(?!none|auto)\S/m.test(text)) return []
  return [
    { level: 'warning', path, text: 'makes each boot wait for a disk; write RESUME=none, and run update-initramfs -u' },
  ]
}

async function capabilities(root: string, list: ListCapabilities): Promise<Finding[]> {
  const text = await list(root)
  if (text === undefined)
    return [
      {
        level: 'note',
        path: '/',
        text: 'file capabilities were not looked for, because getcap is missing; install libcap2-bin',
      },
    ]
  return text
    .split('\n')
    .filter((line) => line.startsWith(root))
    .map((line) => ({
      level: 'warning',
      path: line.slice(root.length).split(' ')[0] as string,
      text: `NFS does not carry its capabilities (${line.split(' ').slice(1).join(' ')}), so only root can use it fully; set setuid, or for ping net.ipv4.ping_group_range`,
    }))
}

/** The path on this machine, if no symlink is on the way: what is mended must be in the image. */
async function ownPath(files: ImageFiles, path: string): Promise<string> {
  const real = await files.real(dirname(path))
  const own = join(files.root, path)
  if (real !== dirname(own)) throw new Error(`${path}: there is a symlink on the way; mend it by hand`)
  return own
}

async function remove(files: ImageFiles, path: string): Promise<void> {
  await rm(await ownPath(files, path), { force: true })
}

async function empty(files: ImageFiles, path: string): Promise<void> {
  const own = await ownPath(files, path)
  if ((await lstat(own)).isFile()) await truncate(own)
}

async function replace(files: ImageFiles, path: string, text: string): Promise<void> {
  const own = await ownPath(files, path)
  if ((await lstat(own)).isFile()) await writeFile(own, text)
}
