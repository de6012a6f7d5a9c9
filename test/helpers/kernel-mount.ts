import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

/**
 * Mounts the kernel's overlay of `lower` and `upper` on a new folder `path`, runs `test` and unmounts it, also when the test
 * fails. Needs root.
 */
export async function withKernelOverlay<T>(
  path: string,
  layers: { lower: string; upper: string; work: string },
  test: () => T | Promise<T>,
): Promise<T> {
  mkdirSync(path)
  const { lower, upper, work } = layers
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work},redirect_dir=on,index=on`
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, path])
  try {
    return await test()
  } finally {
    execFileSync('umount', [path])
  }
}

/** Mounts the kernel's overlay with `options` on the folder `path`, runs `test` and unmounts it, also when the test fails. Needs root. */
export async function kernelOverlay<T>(path: string, options: string, test: () => T | Promise<T>): Promise<T> {
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, path])
  try {
    return await test()
  } finally {
    execFileSync('umount', [path])
  }
}
