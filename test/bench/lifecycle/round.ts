import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { TemplateSettings } from '../../../config/index.ts'
import { compare, mount, parseOptions } from '../../../overlay-core/index.ts'
import { withoutUpper } from '../../../server/mount-view.ts'
import { systemRandom } from '../../../server/random.ts'
import { CreationRate } from '../../../server/registry/creation-rate.ts'
import { executeSnapshotOrder, type SnapshotOrder } from '../../../server/registry/snapshot-requests.ts'
import type { Template } from '../../../server/registry/template.ts'
import type { TemplateView } from '../../../server/registry/template-view.ts'
import { Templates } from '../../../server/registry/templates.ts'
import { ViewPool } from '../../../server/registry/view-pool.ts'

/** What is measured. `freeze` is a snapshot; `squash` merges two layers, of which the upper one has half of the files of the lower. */
export const STEPS = ['freeze', 'fork', 'diff', 'reset', 'squash'] as const
export type Step = (typeof STEPS)[number]

export interface Times {
  readonly elapsedMs: number
  /** Of all threads. */
  readonly cpuMs: number
}

const OWNER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
const FILES_IN_A_DIRECTORY = 1000

/** Measures each step once, on a view in `dir` with this number of changes. */
export async function measureRound(dir: string, changes: number): Promise<Record<Step, Times>> {
  mkdirSync(join(dir, 'material'), { recursive: true })
  writeFileSync(join(dir, 'material/welcome'), 'welcome')
  const templates = await open(dir)
  const template = templates.template
  try {
    const view = await template.create('alice')
    const order = (rest: Omit<SnapshotOrder, 'view'>, suffix = '') =>
      executeSnapshotOrder(templates.all, { ...rest, view: `course/alice${suffix}` })
    const used = async () => {
      await view.use()
      view.release()
    }
    await fill(dir, view, changes, 'first')
    const freeze = await timed(used, () => order({ verb: 'take', name: 'one' }))
    await fill(dir, view, changes / 2, 'second')
    const diff = await timed(used, () => countChanges(view))
    await order({ verb: 'take', name: 'two' })
    await order({ verb: 'remove' }, '@one')
    const squash = await timed(used, () => order({ verb: 'squash' }))
    await fill(dir, view, changes, 'third')
    const fork = await timed(used, () => order({ verb: 'fork', name: 'bob' }))
    await fill(dir, view, changes, 'fourth')
    const reset = await timed(used, () => order({ verb: 'reset' }))
    return { freeze, fork, diff, reset, squash }
  } finally {
    await templates.all.close()
  }
}

async function open(dir: string): Promise<{ readonly all: Templates; readonly template: Template }> {
  const pool = new ViewPool({ log: pino({ level: 'silent' }), now: () => performance.now(), mostOpen: 100 })
  const all = new Templates(
    {
      ...{ pool, accounts: { byName: async () => undefined }, rate: new CreationRate(() => 0), random: systemRandom },
      ...{ wallNow: Date.now, serverUid: OWNER.uid },
    },
    undefined,
  )
  const template: TemplateSettings = {
    ...{ kind: 'per-user', ephemeral: false, directory: join(dir, 'views'), inMemory: false, create: true },
    ...{ idleMs: 3_600_000, maxViews: 100, owners: [], quota: undefined, quotaBy: 'server' },
    mount: parseOptions(`lowerdir=${join(dir, 'material')}`),
    owner: OWNER,
  }
  return { all, template: (await all.add({ name: 'course', template } as Parameters<Templates['add']>[0])) as Template }
}

/** Puts new files into the upper while the view is closed, as earlier requests would have. */
async function fill(dir: string, view: TemplateView, files: number, content: string): Promise<void> {
  await view.close()
  const upper = join(dir, 'views', view.record.id, 'upper')
  for (let i = 0; i < files; i++) {
    const inside = join(upper, `d${Math.floor(i / FILES_IN_A_DIRECTORY)}`)
    if (i % FILES_IN_A_DIRECTORY === 0) mkdirSync(inside, { recursive: true })
    writeFileSync(join(inside, `f${i}`), `${content} ${i}`)
  }
}

async function countChanges(view: TemplateView): Promise<void> {
  const overlay = await view.use()
  const { frozen = 0, ...rest } = overlay.options
  const base = await mount(withoutUpper({ ...rest, lowerdir: rest.lowerdir.slice(frozen) }))
  try {
    for await (const _ of compare({ uid: 0, gid: 0, groups: [] }, overlay, base));
  } finally {
    await base.unmount()
    view.release()
  }
}

/** What was written before is on the disk, so that the step does not wait for it. */
async function timed(prepare: () => Promise<void>, work: () => Promise<unknown>): Promise<Times> {
  execFileSync('sync')
  await prepare()
  const [startMs, cpu] = [performance.now(), process.cpuUsage()]
  await work()
  const elapsedMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  return { elapsedMs, cpuMs: (user + system) / 1000 }
}
