import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import type { TemplateSettings } from '../../../config/index.ts'
import { parseOptions } from '../../../overlay-core/index.ts'
import { holdView } from '../../../server/diff/held-view.ts'
import { systemRandom } from '../../../server/random.ts'
import { CreationRate } from '../../../server/registry/creation-rate.ts'
import { executeSnapshotOrder, type SnapshotOrder } from '../../../server/registry/snapshot-requests.ts'
import type { Template } from '../../../server/registry/template.ts'
import type { TemplateView } from '../../../server/registry/template-view.ts'
import { Templates } from '../../../server/registry/templates.ts'
import { ViewPool } from '../../../server/registry/view-pool.ts'
import { at, put, text } from '../../helpers/overlay.ts'

/** A template whose views have many frozen layers; it can be stopped and started. */
class Deep {
  readonly dir: string
  readonly views: string
  templates!: Templates
  course!: Template
  readonly #squashAbove: number | undefined

  private constructor(t: Test, squashAbove: number | undefined) {
    this.dir = t.testdir({ lower: { a: 'a', d: { b: 'b' } } })
    this.views = join(this.dir, 'views')
    this.#squashAbove = squashAbove
    t.teardown(() => this.templates.close())
  }

  static async start(t: Test, squashAbove?: number): Promise<Deep> {
    const deep = new Deep(t, squashAbove)
    await deep.open()
    await deep.course.create('alice')
    return deep
  }

  async open(): Promise<void> {
    const pool = new ViewPool({ log: pino({ level: 'silent' }), now: () => 0, mostOpen: 100 })
    const parts = {
      ...{ pool, accounts: { byName: async () => undefined }, rate: new CreationRate(() => 0), random: systemRandom },
      ...{ wallNow: () => Date.UTC(2030, 0, 2), serverUid: process.geteuid?.() ?? 0 },
    }
    this.templates = new Templates(parts, undefined)
    const template: TemplateSettings = {
      ...{ kind: 'per-user', ephemeral: false, directory: this.views, inMemory: false, create: true },
      ...{ idleMs: 1000, maxViews: 100, owners: [], quota: undefined, quotaBy: 'server' },
      mount: parseOptions(`lowerdir=${join(this.dir, 'lower')}`),
      owner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
      squashAbove: this.#squashAbove,
    }
    const added = { name: 'course', template } as Parameters<Templates['add']>[0]
    this.course = (await this.templates.add(added)) as Template
  }

  async restart(): Promise<void> {
    await this.templates.close()
    await this.open()
  }

  order(order: SnapshotOrder) {
    return executeSnapshotOrder(this.templates, order)
  }

  async squash(): Promise<unknown> {
    return (await this.order({ verb: 'squash', view: 'course/alice' }))[0]?.layers
  }

  get view(): TemplateView {
    return this.course.byName('alice') as TemplateView
  }

  async with<T>(work: (overlay: Awaited<ReturnType<TemplateView['use']>>) => Promise<T>, name = 'alice'): Promise<T> {
    const view = this.course.byName(name) as TemplateView
    const overlay = await view.use()
    try {
      return await work(overlay)
    } finally {
      view.release()
    }
  }

  /** Writes to the view and freezes it, and keeps the snapshot `sN` if `kept`. */
  async layer(n: number, kept = false): Promise<void> {
    await this.with((overlay) => put(overlay, 'a', `state ${n}`))
    if (n % 2 === 0) await this.with((overlay) => put(overlay, 'd/b', `b ${n}`))
    await this.order({ verb: 'take', view: 'course/alice', name: `s${n}` })
    if (!kept) await this.order({ verb: 'remove', view: `course/alice@s${n}` })
  }

  read(path: string, name?: string): Promise<string> {
    return this.with((overlay) => text(overlay, path), name)
  }

  async key(path: string): Promise<number> {
    return await this.with(async (overlay) => (await at(overlay, path)).key)
  }

  get layers(): string[] {
    return readdirSync(join(this.views, 'layers'))
  }
}

t.test('the layers that nothing names are merged; those of snapshots and forks stay', async (t) => {
  const deep = await Deep.start(t)
  for (let n = 0; n < 3; n++) await deep.layer(n)
  await deep.layer(3, true)
  for (let n = 4; n < 6; n++) await deep.layer(n)
  const key = await deep.key('a')
  t.equal(deep.layers.length, 6)
  t.same(await deep.squash(), { before: 6, after: 2 })
  t.equal(deep.layers.length, 2)
  const seen = async (when: string) => {
    t.equal(await deep.read('a'), 'state 5', when)
    t.equal(await deep.read('d/b'), 'b 4', when)
    t.equal(await deep.key('a'), key, when)
  }
  await seen('at once')
  t.same(await deep.squash(), { before: 2, after: 2 }, 'nothing more')
  await deep.restart()
  await seen('after a restart')
  await deep.order({ verb: 'rollback', view: 'course/alice@s3', drop: true })
  t.equal(await deep.read('a'), 'state 3')
  t.equal(await deep.read('d/b'), 'b 2')
  t.equal(await deep.key('a'), key)
  await deep.order({ verb: 'fork', view: 'course/alice', name: 'bob' })
  await deep.layer(7)
  await deep.layer(8)
  t.same(await deep.squash(), { before: 4, after: 3 }, 'what both have is not merged')
  t.equal(await deep.read('a', 'bob'), 'state 3')
  t.equal(await deep.read('a'), 'state 8')
  await deep.course.remove(deep.course.byName('bob') as TemplateView)
  await deep.order({ verb: 'remove', view: 'course/alice@s3' })
  t.same(await deep.squash(), { before: 3, after: 1 })
  await deep.restart()
  t.equal(await deep.read('a'), 'state 8')
  t.equal(await deep.read('d/b'), 'b 8')
  t.equal(await deep.key('a'), key)
})

t.test('a view with too many layers is squashed in the background', async (t) => {
  const deep = await Deep.start(t, 4)
  for (let n = 0; n < 12; n++) await deep.layer(n)
  await deep.squash()
  t.ok(deep.layers.length <= 2, String(deep.layers.length))
  t.equal(await deep.read('a'), 'state 11')
})

/** Waits until `is` is true, for a minute at most. */
async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; !is() && tries < 1200; tries++) await new Promise((resolve) => setTimeout(resolve, 50))
}

t.test('a squash leaves the layers of a snapshot that is read where they are, and merges them later', async (t) => {
  const deep = await Deep.start(t)
  for (let n = 0; n < 3; n++) await deep.layer(n)
  await deep.layer(3, true)
  for (let n = 4; n < 6; n++) await deep.layer(n)
  const served = { templates: deep.templates } as Parameters<typeof holdView>[0]
  const [one, other] = [
    await holdView(served, 'course/alice@s3', 'view'),
    await holdView(served, 'course/alice@s3', 'view'),
  ]
  const { lowerdir } = one.overlay.options
  t.same(await deep.squash(), { before: 6, after: 5 }, 'only those above it are merged')
  const seen = async () => {
    for (const path of lowerdir) t.ok(existsSync(path), path)
    for (const { overlay } of [one, other]) t.equal(await text(overlay, 'a'), 'state 3')
    t.equal(await text(one.overlay, 'd/b'), 'b 2')
    t.equal(await deep.read('a'), 'state 5')
  }
  await seen()
  await one.release()
  t.same(await deep.squash(), { before: 5, after: 5 }, 'somebody else reads it')
  await other.release()
  await until(() => deep.layers.length === 2)
  t.equal(deep.layers.length, 2, 'the rest is merged in the background')
  t.equal(await deep.read('a'), 'state 5')
  await t.rejects(holdView(served, 'course/alice@s9', 'view'), /no snapshot/)
  const merged = await holdView(served, 'course/alice@s3', 'view')
  t.equal(await text(merged.overlay, 'a'), 'state 3')
  await merged.release()
})

t.test('a squash that runs when somebody begins to read a snapshot gives way', async (t) => {
  const deep = await Deep.start(t)
  for (let n = 0; n < 4; n++) await deep.layer(n, n === 3)
  const served = { templates: deep.templates } as Parameters<typeof holdView>[0]
  for (let round = 0; round < 4; round++) {
    const squash = deep.squash() as Promise<{ before: number; after: number }>
    // At another moment in each round.
    for (let turn = 0; turn < round * 4; turn++) await new Promise((resolve) => setImmediate(resolve))
    const held = await holdView(served, 'course/alice@s3', 'view')
    const { lowerdir } = held.overlay.options
    const { after } = await squash
    for (const path of lowerdir) t.ok(existsSync(path), path)
    t.equal(after, lowerdir.length - 1, 'it has seen the layers before or after the squash')
    t.equal(await text(held.overlay, 'a'), 'state 3')
    t.equal(await text(held.overlay, 'd/b'), 'b 2')
    await held.release()
    await until(() => deep.layers.length === 1)
    t.equal(deep.layers.length, 1)
    await deep.order({ verb: 'remove', view: 'course/alice@s3' })
    for (let n = 1; n < 4; n++) await deep.layer(n, n === 3)
  }
})

t.test('a snapshot that is opened while merged layers are exchanged is read from the merge', async (t) => {
  const deep = await Deep.start(t)
  for (let n = 0; n < 4; n++) await deep.layer(n, n === 3)
  const served = { templates: deep.templates } as Parameters<typeof holdView>[0]
  const { view } = deep
  const adopt = view.adopt.bind(view)
  let holding: ReturnType<typeof holdView> | undefined
  view.adopt = async (...merge) => {
    const [, place] = merge
    holding = holdView(served, 'course/alice@s3', 'view')
    await adopt(...merge)
    t.ok(existsSync(place))
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  t.same(await deep.squash(), { before: 4, after: 1 })
  const held = await holding
  t.equal(held?.overlay.options.lowerdir.length, 2, 'the merge and the material')
  if (held) t.equal(await text(held.overlay, 'd/b'), 'b 2')
  await held?.release()
})

t.test('snapshots, forks and rollbacks do not wait for a squash', async (t) => {
  const deep = await Deep.start(t)
  const many = 400
  for (let n = 0; n < 3; n++) {
    await deep.with(async (overlay) => {
      for (let i = 0; i < many; i++) {
        if (n === 0) await overlay.create({ uid: 0, gid: 0, groups: [] }, overlay.root, `f${i}`, { mode: 0o644 })
        if (i % 3 === n) await put(overlay, `f${i}`, `${n}`)
      }
    })
    await deep.layer(n)
  }
  let squashed = false
  const squash = deep.squash().then(() => {
    squashed = true
  })
  await deep.order({ verb: 'take', view: 'course/alice', name: 'meanwhile' })
  t.notOk(squashed, 'the snapshot came first')
  await deep.order({ verb: 'fork', view: 'course/alice', name: 'bob' })
  await squash
  for (const name of ['alice', 'bob']) {
    t.equal(await deep.read('f1', name), '1')
    t.equal(await deep.read('a', name), 'state 2')
    await deep.with(async (overlay) => {
      t.equal((await overlay.getattr(await at(overlay, 'f2'))).nlink, 1, 'the link count of a fork')
    }, name)
  }
  await deep.restart()
  for (const name of ['alice', 'bob']) t.equal(await deep.read('f2', name), '2')
  t.notOk(deep.layers.some((layer) => layer.startsWith('merging-')))
})

t.test('a squash that a crash interrupts is undone or finished by the next start', async (t) => {
  const deep = await Deep.start(t)
  for (let n = 0; n < 4; n++) await deep.layer(n)
  const { top = '' } = deep.view.record
  await deep.templates.close()
  const saved = join(deep.dir, 'saved')
  cpSync(deep.views, saved, { recursive: true, preserveTimestamps: true })
  await deep.open()
  await deep.squash()
  await deep.templates.close()
  const merged = join(deep.dir, 'merged')
  cpSync(join(deep.views, 'layers', top), merged, { recursive: true, preserveTimestamps: true })
  t.notOk(JSON.parse(readFileSync(join(merged, 'layer.json'), 'utf8')).layer.below, 'nothing is below the merge')
  const layers = join(deep.views, 'layers')
  const merging = join(layers, `merging-${top}`)
  const steps: readonly (readonly [string, () => void])[] = [
    ['the directory is made', () => mkdirSync(merging)],
    ['its record is written', () => cpSync(join(merged, 'layer.json'), join(merging, 'layer.json'))],
    ['the merge is half done', () => mkdirSync(join(merging, 'upper/d'), { recursive: true })],
    [
      'the merge has taken the place',
      () => {
        rmSync(merging, { recursive: true })
        renameSync(join(layers, top), merging)
        cpSync(merged, join(layers, top), { recursive: true, preserveTimestamps: true })
      },
    ],
    [
      'a layer below it is deleted',
      () => {
        const [other = ''] = readdirSync(layers).filter((name) => !name.endsWith(top))
        rmSync(join(layers, other), { recursive: true })
      },
    ],
  ]
  for (const [step, [name]] of steps.entries()) {
    rmSync(deep.views, { recursive: true })
    cpSync(saved, deep.views, { recursive: true, preserveTimestamps: true })
    for (const [, make] of steps.slice(0, step + 1)) make()
    await deep.open()
    t.equal(await deep.read('a'), 'state 3', name)
    t.equal(await deep.read('d/b'), 'b 2', name)
    t.equal(deep.layers.length, step < 3 ? 4 : 1, name)
    t.notOk(existsSync(merging), 'nothing is left')
    await deep.squash()
    await deep.restart()
    t.equal(deep.layers.length, 1)
    t.equal(await deep.read('a'), 'state 3', name)
    await deep.templates.close()
  }
  await deep.open()
})

t.test('a squash is refused with the reason, and changes nothing', async (t) => {
  const deep = await Deep.start(t)
  await t.rejects(deep.order({ verb: 'squash', view: 'course/bob' }), /no view course\/bob; see overlayd view list/)
  await deep.layer(0)
  await deep.layer(1)
  const { top = '' } = deep.view.record
  writeFileSync(join(deep.views, 'layers', top, 'layer.json'), 'broken')
  await t.rejects(deep.squash(), { option: 'view', message: /course\/alice cannot be squashed/ })
  t.equal(deep.layers.length, 2)
  t.equal(await deep.read('a'), 'state 1')
})
