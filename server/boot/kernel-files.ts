import { FileType, type Overlay } from '../../overlay-core/index.ts'
import { bytesOf, fileAt, namesIn, objectAt } from './view-files.ts'

/** Where the kernel and the initial RAM disk of a view are. */
export interface KernelFiles {
  readonly kernel: string
  readonly initrd: string | undefined
}

/** How distributions name the initial RAM disk of a kernel. */
const INITRDS = (version: string) => [
  `initrd.img-${version}`,
  `initramfs-${version}.img`,
  `initrd-${version}`,
  `initramfs-${version}`,
]

/**
 * The kernel of a view and its initial RAM disk: as configured, or the newest `/boot/vmlinuz-VERSION`.
 *
 * @returns why there is none, as a sentence for the admin
 */
export async function findKernel(
  overlay: Overlay,
  given: { readonly kernel?: string | undefined; readonly initrd?: string | undefined },
): Promise<KernelFiles | string> {
  const kernel = given.kernel ?? (await newestKernel(overlay))
  if (kernel === undefined)
    return 'the image has no kernel: there is no /boot/vmlinuz-*; install one (linux-image-amd64), or set kernel of the machine'
  if (given.kernel !== undefined && (await fileAt(overlay, bytesOf(kernel))) === undefined)
    return `the image has no kernel ${kernel}; correct kernel of the machine`
  if (given.initrd !== undefined) {
    if ((await fileAt(overlay, bytesOf(given.initrd))) === undefined)
      return `the image has no initial RAM disk ${given.initrd}; correct initrd of the machine`
    return { kernel, initrd: given.initrd }
  }
  const version = /vmlinuz-(.+)$/.exec(kernel)?.[1]
  for (const name of version === undefined ? [] : INITRDS(version)) {
    const path = kernel.replace(/[^/]*$/, name)
    if ((await fileAt(overlay, bytesOf(path))) !== undefined) return { kernel, initrd: path }
  }
  return { kernel, initrd: undefined }
}

async function newestKernel(overlay: Overlay): Promise<string | undefined> {
  const boot = await objectAt(overlay, '/boot')
  if (boot?.type !== FileType.directory) return undefined
  // Other names could not be written into a script or a log.
  const names = (await namesIn(overlay, boot)).filter((name) => /^vmlinuz-[A-Za-z0-9._+~-]{1,100}$/.test(name))
  const [newest] = names.sort((a, b) => compareVersions(b, a))
  return newest && `/boot/${newest}`
}

/** The order of versions: numbers in them count as numbers, and a release comes after its candidates (`6.1~rc1`, `6.1-rc1`). */
export function compareVersions(a: string, b: string): number {
  const parts = (text: string) => text.replace(/-rc(?=\d)/g, '~rc').match(/\d+|[a-z]+|[^a-z\d]/gi) ?? []
  const [left, right] = [parts(a), parts(b)]
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [one, other] = [left[i], right[i]]
    if (one === other) continue
    if (one === '~' || other === '~') return one === '~' ? -1 : 1
    if (one === undefined || other === undefined) return one === undefined ? -1 : 1
    const [x, y] = [Number(one), Number(other)]
    if (!Number.isNaN(x) && !Number.isNaN(y) && x !== y) return x - y
    return one < other ? -1 : 1
  }
  return 0
}
