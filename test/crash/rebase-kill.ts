import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Handle, NfsClient } from '../helpers/nfs-client.ts'
import { run } from '../server/launch.ts'
import { addVersion } from '../server/rebase/rebase-course.ts'
import { makeCourse, startVictim, type Victim } from './views/server.ts'

/** A version of the material: each file says which one it is of. */
function material(version: number): Record<string, string> {
  const files: Record<string, string> = {}
  for (const name of ['changed', 'removed', 'other', 'folder/a', 'folder/b', 'sub/c'])
    files[name] = `${name} ${version}`
  files['same'] = 'same'
  files[`only-${version % 2}`] = `only ${version}`
  return files
}

/** What a view shows on a version: the material, and what its user has changed. */
function wanted(version: number): string[] {
  const shown = new Map(Object.entries(material(version)))
  shown.delete('removed')
  for (const name of ['a', 'b']) {
    shown.set(`moved/${name}`, shown.get(`folder/${name}`) as string)
    shown.delete(`folder/${name}`)
  }
  shown.set('changed', 'mine')
  shown.set('moved/own', 'mine')
  shown.set('own/d', 'mine')
  return [...shown].map(([path, text]) => `${path}: ${text}`).sort()
}

/** All files that a view shows, with their content. */
async function shown(nfs: NfsClient, dir: Handle, path = ''): Promise<string[]> {
  const lines: string[] = []
  for (const { name } of await nfs.list(dir)) {
    if (name.startsWith('.')) continue
    const handle = (await nfs.lookup(dir, name)).handle as Handle
    const { attr } = await nfs.getattr(handle)
    const at = path === '' ? name : `${path}/${name}`
    if (attr?.type === 2) lines.push(...(await shown(nfs, handle, at)))
    else lines.push(`${at}: ${(await nfs.read(handle, 0, 100)).data}`)
  }
  return lines.sort()
}

/** What the user of the view changes. */
async function change(nfs: NfsClient): Promise<void> {
  const root = await nfs.mount('/course/alice')
  const find = async (path: string) => await nfs.walk(root, path)
  const write = async (dir: Handle, name: string) => {
    const { handle } = await nfs.create(dir, name, { mode: 'unchecked' })
    await nfs.setattr(handle as Handle, { size: 0 })
    await nfs.write(handle as Handle, 0, Buffer.from('mine'), 2)
  }
  await write(root, 'changed')
  await nfs.remove(root, 'removed')
  await nfs.rename(root, 'folder', root, 'moved')
  await write(await find('moved'), 'own')
  await nfs.mkdir(root, 'own')
  await write(await find('own'), 'd')
}

/** What the kills found. */
export interface RebaseKills {
  readonly failures: readonly string[]
  readonly points: number
  readonly kills: number
  /** How many of them left the view on the new version. */
  readonly rebased: number
}

/**
 * Kills a server, as `kill -9` does, at moments before and after the system calls of a rebase. After each kill the view must be wholly on one version, with all that its user
 * has changed, and must be put on the new one by another rebase.
 *
 * @param most the number of kills; they are spread over all points
 * @param told is told of each kill
 */
export async function killRebases(most: number, told = (_line: string): void => undefined): Promise<RebaseKills> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-crash-rebase-'))
  const failures: string[] = []
  let [version, rebased, kills, points] = [1, 0, 0, 0]
  let victim: Victim | undefined
  const rebase = () => run(['rebase', 'course/alice', '--yes', '--state-dir', join(dir, 'state')])
  const look = async () => await shown((victim as Victim).nfs, await (victim as Victim).nfs.mount('/course/alice'))
  const next = async (killAt: number) => {
    version++
    addVersion(join(dir, 'store'), String(version), material(version))
    await victim?.kill()
    victim = await startVictim(dir, killAt)
    await victim.nfs.mount('/course/alice')
    await victim.arm()
  }
  try {
    makeCourseOfVersions(dir)
    addVersion(join(dir, 'store'), '1', material(1))
    victim = await startVictim(dir, undefined)
    await change(victim.nfs)
    if ((await look()).join('\n') !== wanted(1).join('\n')) failures.push(`before: ${await look()}`)
    await next(0)
    if ((await rebase()).status !== 0) failures.push('an undisturbed rebase fails')
    points = await (victim as Victim).passed()
    for (let i = 0; i < most && failures.length === 0; i++) {
      const killAt = 1 + Math.floor((i * points) / most)
      await next(killAt)
      const { status } = await rebase()
      await victim.kill()
      kills++
      victim = await startVictim(dir, undefined)
      const now = (await look()).join('\n')
      const isNew = now === wanted(version).join('\n')
      told(`killed at point ${killAt} of ${points}: ${isNew ? 'the new version' : 'the old version'}`)
      if (isNew) rebased++
      else if (now !== wanted(version - 1).join('\n'))
        failures.push(
          `killed at point ${killAt} of ${points}, the view shows neither version ${version - 1} nor ${version}: ${now}`,
        )
      if (status === 0 && !isNew) failures.push(`killed at point ${killAt}, a rebase that was answered is not done`)
      const again = await rebase()
      if (again.status !== 0)
        failures.push(`killed at point ${killAt}, the next rebase fails: ${again.stdout}${again.stderr}`)
      else if ((await look()).join('\n') !== wanted(version).join('\n'))
        failures.push(`killed at point ${killAt}, after the next rebase the view shows ${await look()}`)
    }
  } finally {
    await victim?.kill()
    rmSync(dir, { recursive: true, force: true })
  }
  return { failures, points, kills, rebased }
}

function makeCourseOfVersions(dir: string): void {
  makeCourse(dir)
  mkdirSync(join(dir, 'store'))
  const file = join(dir, 'o.toml')
  const text = readFileSync(file, 'utf8')
    .replace('[layers.material]\npath = "material"\n', '[layers]\ndirectory = "store"\n')
    .replace('layers = ["material"]', 'layers = ["layer:material"]')
    .replace('idle = "1s"', 'idle = "1h"')
  writeFileSync(file, text)
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { kills: { type: 'string', default: '1000' } } })
  const { failures, points, kills, rebased } = await killRebases(Number(values.kills), console.log)
  for (const failure of failures) console.log(`=> ${failure}`)
  console.log(`${points} points, ${kills} kills, ${rebased} left the new version, ${failures.length} wrong`)
  process.exitCode = failures.length === 0 ? 0 : 1
}
