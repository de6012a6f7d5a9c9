import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './processes.ts'

const checkout = fileURLToPath(new URL('../../../', import.meta.url))

/**
 * Lays overlayd out in `folder` as its package is: compiled, without the stripping of types that a checkout does at each start, which needs
 * 30 MB. Returns the program. @throws Error it does not compile
 */
export async function layOut(folder: string): Promise<string> {
  const place = join(folder, 'overlayd-package')
  const compiler = join(checkout, 'node_modules/typescript/bin/tsc')
  const dist = join(place, 'dist')
  await run(process.execPath, [compiler, '-p', join(checkout, 'tsconfig.build.json'), '--outDir', dist])
  await cp(join(checkout, 'protocols/webdav/page'), join(dist, 'protocols/webdav/page'), { recursive: true })
  await mkdir(join(place, 'server'))
  for (const file of ['package.json', 'server/overlayd.cjs']) await cp(join(checkout, file), join(place, file))
  await symlink(join(checkout, 'node_modules'), join(place, 'node_modules'))
  return join(place, 'server/overlayd.cjs')
}
