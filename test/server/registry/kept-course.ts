import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import type { TemplateSettings } from '../../../config/index.ts'
import { parseOptions } from '../../../overlay-core/index.ts'
import { systemRandom } from '../../../server/random.ts'
import { CreationRate } from '../../../server/registry/creation-rate.ts'
import { executeSnapshotOrder, type SnapshotOrder } from '../../../server/registry/snapshot-requests.ts'
import type { Template } from '../../../server/registry/template.ts'
import type { TemplateView } from '../../../server/registry/template-view.ts'
import { Templates } from '../../../server/registry/templates.ts'
import { ViewPool } from '../../../server/registry/view-pool.ts'
import { put, text } from '../../helpers/overlay.ts'

const LOWER = { a: 'a', d: { b: 'b' } }

/** A server's templates, which can be stopped and started. */
export class Course {
  readonly dir: string
  readonly views: string
  templates!: Templates
  course!: Template
  nowMs = Date.UTC(2030, 0, 2, 3, 4, 5)
  readonly #more: Partial<TemplateSettings>

  constructor(t: Test, more: Partial<TemplateSettings> = {}, lower: Parameters<Test['testdir']>[0] = LOWER) {
    this.dir = t.testdir({ lower })
    this.views = join(this.dir, 'views')
    this.#more = more
    t.teardown(() => this.templates.close())
  }

  async start(): Promise<void> {
    const pool = new ViewPool({ log: pino({ level: 'silent' }), now: () => 0, mostOpen: 100 })
    const parts = {
      ...{ pool, accounts: { byName: async () => undefined }, rate: new CreationRate(() => 0), random: systemRandom },
      ...{ wallNow: () => this.nowMs, serverUid: process.geteuid?.() ?? 0 },
    }
    this.templates = new Templates(parts, undefined)
    const template: TemplateSettings = {
      ...{ kind: 'per-user', ephemeral: false, directory: this.views, inMemory: false, create: true },
      ...{ idleMs: 1000, maxViews: 100, owners: [], quota: undefined, quotaBy: 'server' },
      mount: parseOptions(`lowerdir=${join(this.dir, 'lower')}`),
      owner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
      ...this.#more,
    }
    const added = { name: 'course', template } as Parameters<Templates['add']>[0]
    this.course = (await this.templates.add(added)) as Template
  }

  async restart(): Promise<void> {
    await this.templates.close()
    await this.start()
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

  write(name: string, path: string, content: string): Promise<void> {
    return this.with(name, (overlay) => put(overlay, path, content))
  }

  read(name: string, path: string): Promise<string> {
    return this.with(name, (overlay) => text(overlay, path))
  }

  order(order: SnapshotOrder) {
    return executeSnapshotOrder(this.templates, order)
  }

  /** The directories of frozen layers. */
  get layers(): string[] {
    return existsSync(join(this.views, 'layers')) ? readdirSync(join(this.views, 'layers')) : []
  }
}

/** A course with a view of alice. */
export async function started(
  t: Test,
  more?: Partial<TemplateSettings>,
  lower?: Parameters<Test['testdir']>[0],
): Promise<Course> {
  const course = new Course(t, more, lower)
  await course.start()
  await course.course.create('alice')
  return course
}
