import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Handle, STATUS } from '../../helpers/nfs-client.ts'
import { type Change, furnish, type Known, lookAtFork } from './changes.ts'
import type { Victim } from './server.ts'

/** The handles of so many removed views are tried again after each kill. */
const GONE_KEPT = 10

/** What must be there. */
export interface Model {
  views: Known[]
  /** Handles of views that were removed. */
  gone: Handle[]
}

/** A change that was under way when the kill came. */
export interface Interrupted {
  readonly change: Change
  readonly answered: boolean
}

/**
 * Looks at all views after a restart, and brings the model up to date: each view is whole or absent, what was answered is done, no other view has changed, and nothing
 * leads to a removed one. Returns a line for each fault.
 */
export async function judge(
  dir: string,
  victim: Victim,
  model: Model,
  interrupted: readonly Interrupted[],
): Promise<string[]> {
  const listed = new Map((await victim.ask({ verb: 'list' })).map(({ id, name }) => [id, name]))
  const lines: string[] = []
  for (const one of interrupted) lines.push(...(await settle(victim, model, listed, one)))
  for (const { id, name } of model.views) {
    if (!listed.has(id)) lines.push(`the view ${name} is lost`)
    else if (listed.get(id) !== name) lines.push(`the view ${name} is called ${listed.get(id)}`)
  }
  if (listed.size !== model.views.length)
    lines.push(`there are ${listed.size} views instead of ${model.views.length}: ${[...listed.values()].join(' ')}`)
  for (const id of readdirSync(join(dir, 'views')).filter((name) => /^[0-9a-f]{16}$/.test(name)))
    if (!listed.has(id))
      lines.push(`the directory ${id} belongs to no view: ${readdirSync(join(dir, 'views', id)).join(' ')}`)
  for (const known of model.views) lines.push(...(await faultsOf(victim, known)))
  for (const handle of model.gone) {
    const { status } = await victim.nfs.getattr(handle)
    if (status !== STATUS.STALE) lines.push(`GETATTR in a removed view answers ${status}`)
  }
  return lines
}

/** Finds out whether a change has been done, and takes it into the model. */
async function settle(
  victim: Victim,
  model: Model,
  listed: ReadonlyMap<string, string>,
  { change, answered }: Interrupted,
): Promise<string[]> {
  const undone = answered ? [`${change.kind} was answered and is not done`] : []
  if ('name' in change) {
    const [id] = [...listed].find(([, name]) => name === change.name) ?? []
    if (id === undefined) return undone
    const used = change.kind === 'make and use' && answered
    const lost =
      used && (await victim.nfs.lookup(await victim.nfs.mount(`/course/${change.name}`), 'scratch')).status !== 0
    if (lost) return [`the file that was made in ${change.name} is lost`]
    model.views.push(await furnish(victim, id, change.name))
  } else if (change.kind === 'fork') {
    const [id] = [...listed].find(([, name]) => name === change.fork) ?? []
    if (id === undefined) return undone
    model.views.push(await lookAtFork(victim, id, change.fork, change.view.text))
  } else if (change.kind === 'snapshot') {
    const found = await victim.askSnapshots({ verb: 'list', view: `course/${change.view.name}` })
    if (!found.some(({ name }) => name === change.as)) return undone
    change.view.snapshots.push({ name: change.as, text: change.view.text })
  } else if (change.kind === 'rollback') {
    return await settleRollback(victim, change, answered)
  } else if (change.kind === 'rename') {
    if (listed.get(change.view.id) !== change.to) return undone
    change.view.name = change.to
  } else if (change.kind === 'remove') {
    if (listed.has(change.view.id)) return undone
    model.views = model.views.filter((view) => view !== change.view)
    model.gone = [change.view.root, change.view.file, ...model.gone].slice(0, 2 * GONE_KEPT)
  }
  return []
}

/** After a rollback the view is as at the snapshot, and what it had is kept; without it, it has what was written before. */
async function settleRollback(
  victim: Victim,
  { view, text, to }: Extract<Change, { kind: 'rollback' }>,
  answered: boolean,
): Promise<string[]> {
  const present = (await victim.nfs.read(view.file, 0, 100)).data?.toString()
  const found = await victim.askSnapshots({ verb: 'list', view: `course/${view.name}` })
  const known = new Set(view.snapshots.map(({ name }) => name))
  const aside = found.filter(({ name }) => !known.has(name)).map(({ name }) => ({ name, text }))
  view.snapshots.push(...aside)
  if (present === to.text && aside.length === 1) view.text = to.text
  else if (!answered && aside.length === 0 && present === text) view.text = text
  else if (answered || aside.length > 0 || present !== view.text)
    return [`after a rollback, ${view.name} has ${present} and ${aside.length} new snapshots`]
  return []
}

/** What is wrong in a view. */
async function faultsOf(
  { nfs, askSnapshots }: Victim,
  { name, root, file, text, scratch, snapshots }: Known,
): Promise<string[]> {
  const lines: string[] = []
  const { status, data } = await nfs.read(file, 0, 100)
  if (data?.toString() !== text) lines.push(`READ in ${name} answers ${status} ${data}`)
  const material = await nfs.lookup(root, 'welcome.txt')
  if (material.status !== STATUS.OK) lines.push(`LOOKUP of the material in ${name} answers ${material.status}`)
  const mounted = await nfs.mnt(`/course/${name}`)
  if (!mounted.handle.equals(root)) lines.push(`a mount of ${name} (${mounted.status}) leads elsewhere`)
  const names = (await nfs.list(root)).map((entry) => entry.name).filter((entry) => !entry.startsWith('.'))
  if (names.sort().join(' ') !== 'own scratch sub welcome.txt') lines.push(`${name} lists ${names.join(' ')}`)
  const kept = (await askSnapshots({ verb: 'list', view: `course/${name}` })).map((each) => each.name).sort()
  const expected = snapshots.map((each) => each.name).sort()
  if (kept.join() !== expected.join()) lines.push(`${name} has the snapshots ${kept} instead of ${expected}`)
  const written = await nfs.write(scratch, 0, Buffer.from('judged'), 2)
  if (written.status !== STATUS.OK) lines.push(`WRITE in ${name} answers ${written.status}`)
  return lines
}
