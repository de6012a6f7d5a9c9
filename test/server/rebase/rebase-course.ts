import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import type { TemplateSettings } from '../../../config/index.ts'
import { parseOptions } from '../../../overlay-core/index.ts'
import { pathOfVersion } from '../../../server/layers/version-record.ts'
import { systemRandom } from '../../../server/random.ts'
import { executeRebaseOrder, lastConflicts, type RebaseOrder } from '../../../server/rebase/rebase-requests.ts'
import type { RebaseReport } from '../../../server/rebase/report.ts'
import { CreationRate } from '../../../server/registry/creation-rate.ts'
import { executeSnapshotOrder, type SnapshotOrder } from '../../../server/registry/snapshot-requests.ts'
import type { Template } from '../../../server/registry/template.ts'
import type { TemplateView } from '../../../server/registry/template-view.ts'
import { Templates } from '../../../server/registry/templates.ts'
import { ViewPool } from '../../../server/registry/view-pool.ts'
import { at, build, put, ROOT, type Tree, text } from '../../helpers/overlay.ts'

/** Puts a version of the layer `material` into a layer store by hand. Returns its lower. */
export function addVersion(store: string, version: string, tree: Tree): string {
  const digits = createHash('sha256').update(version).digest('hex')
  const own = join(store, 'names/material', version)
  const object = join(store, 'objects', digits)
  for (const directory of [own, object]) mkdirSync(directory, { recursive: true })
  build(join(object, 'tree'), tree)
  // Users may do with it what they like in their views.
  execFileSync('chmod', ['-R', 'a+rwX', join(object, 'tree')])
  const digest = `sha256:${digits}`
  const about = { digest, tarBytes: 0, bytes: 0, objects: 0, userxattr: process.geteuid?.() !== 0 }
  writeFileSync(join(object, 'object.json'), JSON.stringify(about))
  const record = { layer: 'material', version, serial: Number(version), digest, createdMs: 0, from: 'a test' }
  writeFileSync(join(own, 'version.json'), JSON.stringify(record))
  symlinkSync(join('../../../objects', digits), join(own, 'object'))
  return pathOfVersion(store, 'material', version)
}

/** A template whose views lie on versions of a layer. */
export class RebaseCourse {
  readonly dir: string
  readonly store: string
  templates!: Templates
  course!: Template
  nowMs = Date.UTC(2030, 0, 2, 3, 4, 5)
  #version = '1'
  readonly #more: Partial<TemplateSettings>

  constructor(t: Test, tree: Tree, more: Partial<TemplateSettings> = {}) {
    this.dir = t.testdir({})
    this.store = join(this.dir, 'store')
    this.#more = more
    addVersion(this.store, '1', tree)
    t.teardown(() => this.templates.close())
  }

  static async start(t: Test, tree: Tree, more?: Partial<TemplateSettings>): Promise<RebaseCourse> {
    const course = new RebaseCourse(t, tree, more)
    await course.open()
    await course.course.create('alice')
    return course
  }

  async open(): Promise<void> {
    const pool = new ViewPool({ log: pino({ level: 'silent' }), now: () => performance.now(), mostOpen: 100 })
    const parts = {
      ...{ pool, accounts: { byName: async () => undefined }, rate: new CreationRate(() => 0), random: systemRandom },
      ...{ wallNow: () => this.nowMs, serverUid: process.geteuid?.() ?? 0 },
    }
    this.templates = new Templates(parts, undefined)
    const layer = { name: 'material', version: this.#version, pinned: false, store: this.store }
    const template: TemplateSettings = {
      ...{ kind: 'per-user', ephemeral: false, directory: join(this.dir, 'views'), inMemory: false, create: true },
      ...{ idleMs: 1000, maxViews: 2000, owners: [], quota: undefined, quotaBy: 'server', layers: [layer] },
      mount: parseOptions(`lowerdir=${pathOfVersion(this.store, 'material', this.#version)}`),
      owner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
      ...this.#more,
    }
    const added = { name: 'course', template } as Parameters<Templates['add']>[0]
    this.course = (await this.templates.add(added)) as Template
  }

  async restart(): Promise<void> {
    await this.templates.close()
    await this.open()
  }

  /** Makes a new version of the layer, on which new views lie. */
  publish(version: string, tree: Tree): void {
    addVersion(this.store, version, tree)
    this.#version = version
    this.course.useNewest('material', version)
  }

  view(name: string): TemplateView {
    return this.course.byName(name) as TemplateView
  }

  async with<T>(name: string, work: (overlay: Awaited<ReturnType<TemplateView['use']>>) => Promise<T>): Promise<T> {
    const view = this.view(name)
    const overlay = await view.use()
    try {
      return await work(overlay)
    } finally {
      view.release()
    }
  }

  /** Writes a file, which is made if it is missing. */
  write(name: string, path: string, content: string): Promise<void> {
    return this.with(name, async (overlay) => {
      const dir = await at(overlay, dirname(path) === '.' ? '' : dirname(path))
      if (!(await overlay.lookup(ROOT, dir, basename(path))))
        await overlay.create(ROOT, dir, basename(path), { mode: 0o644 })
      await put(overlay, path, content)
    })
  }

  read(name: string, path: string): Promise<string> {
    return this.with(name, (overlay) => text(overlay, path))
  }

  /** Rebases one view, or tells what would come of it. */
  async rebase(name: string, how: Omit<RebaseOrder, 'views'> = {}): Promise<RebaseReport> {
    const [report] = await executeRebaseOrder(this.templates, { views: [`course/${name}`], ...how })
    return report as RebaseReport
  }

  conflicts(name: string) {
    return lastConflicts(this.templates, `course/${name}`)
  }

  order(order: SnapshotOrder) {
    return executeSnapshotOrder(this.templates, order)
  }
}
