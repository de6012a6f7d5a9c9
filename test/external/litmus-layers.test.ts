import { mkdirSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { type Inode, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { registerWebDav } from '../../protocols/webdav/index.ts'
import { build, ROOT, snapshot, type Tree } from '../helpers/overlay.ts'
import { makeScratch, type Scratch } from './helpers/scratch.ts'
import { quote, ShellError } from './helpers/shell.ts'

const SUITES = { basic: 16, copymove: 13, props: 30, locks: 41, http: 4 }

/** The collection in which litmus works is there already, in a lower, with names that litmus uses. */
const BASE: Tree = {
  'litmus/res': 'from below',
  'litmus/coll/file': 'from below',
  'litmus/lockme': 'from below',
  'litmus/prop': 'from below',
  'litmus/frag/x': 'from below',
  other: 'from below',
}

/**
 * Where the objects lie that each request meets: `upper`: as they were made; `lower`: what earlier requests changed has become a lower layer;
 * `copied-up`: that, and then each object was copied up.
 */
const PLACES = ['upper', 'lower', 'copied-up'] as const
type Place = (typeof PLACES)[number]

/** Layers whose upper can be made a lower, under an overlay that seems to stay the same. */
class Layers {
  readonly overlay: Overlay
  readonly #dir: string
  readonly #lowers: string[]
  #mounted: Overlay | undefined
  frozen = 0
  copied = 0

  constructor(dir: string) {
    this.#dir = dir
    this.#lowers = [build(join(dir, 'base'), BASE)]
    this.overlay = new Proxy({} as Overlay, {
      get: (_, key) => {
        const target = this.#mounted as Overlay
        const value = target[key as keyof Overlay]
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value
      },
    })
  }

  async open(): Promise<void> {
    for (const name of ['upper', 'work']) mkdirSync(join(this.#dir, name), { recursive: true })
    const { options } = this
    this.#mounted = await mount(parseOptions(options))
  }

  get options(): string {
    return `lowerdir=${this.#lowers.join(':')},upperdir=${this.#dir}/upper,workdir=${this.#dir}/work`
  }

  async close(): Promise<void> {
    await this.#mounted?.unmount()
    this.#mounted = undefined
  }

  /** What was changed becomes the topmost lower. */
  async freeze(): Promise<void> {
    const upper = join(this.#dir, 'upper')
    if (readdirSync(upper).length === 0) return
    await this.close()
    const layer = join(this.#dir, `frozen${this.frozen++}`)
    renameSync(upper, layer)
    this.#lowers.unshift(layer)
    await this.open()
  }

  /** Copies every object up by a change of attributes that changes nothing. */
  async copyUp(dir: Inode = this.overlay.root): Promise<void> {
    const members: Inode[] = []
    await this.overlay.readdirPlus(ROOT, dir, 0, ({ inode }) => {
      if (inode !== undefined) members.push(inode)
      return true
    })
    for (const inode of members) {
      const { mode } = await this.overlay.getattr(inode)
      await this.overlay.setattr(ROOT, inode, { mode })
      this.copied++
      if (inode.type === 0o040000) await this.copyUp(inode)
    }
  }
}

/** Serves the layers in this process, with what each request meets put in its place before. */
async function withServer(
  t: Test,
  dir: string,
  place: Place,
  test: (url: string, layers: Layers) => Promise<void>,
): Promise<void> {
  mkdirSync(dir)
  const layers = new Layers(dir)
  const before = snapshot(join(dir, 'base'))
  await layers.open()
  const app = fastify({ logger: false, forceCloseConnections: true })
  let changed = true
  app.addHook('onRequest', async ({ method }) => {
    // What was only looked at keeps its place, as copying it up once more would make it another object.
    if (place !== 'upper' && changed) {
      await layers.freeze()
      if (place === 'copied-up') await layers.copyUp()
    }
    changed = !['GET', 'HEAD', 'OPTIONS', 'PROPFIND'].includes(method)
  })
  const faults: unknown[] = []
  const ignore = () => undefined
  const handle = registerWebDav(app, {
    views: [{ name: 'overlay', overlay: layers.overlay, as: ROOT }],
    log: { debug: ignore, info: ignore, warn: ignore, error: (details) => faults.push(details) },
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  try {
    await test(`http://127.0.0.1:${(app.server.address() as { port: number }).port}/overlay/`, layers)
    t.same(faults, [], 'no fault is logged')
  } finally {
    await app.close()
    await handle.close()
    await layers.close()
  }
  t.same(snapshot(join(dir, 'base')), before, 'the lower is unchanged')
}

async function litmus(scratch: Scratch, suite: string, url: string): Promise<string> {
  try {
    return await scratch.sh(`TESTS=${suite} HTDOCS=/usr/share/litmus/htdocs litmus -k ${url} 2>&1 | tr '\\r' '\\n'`)
  } catch (error) {
    if (error instanceof ShellError) return error.output
    throw error
  }
}

t.setTimeout(300_000)
const scratch = makeScratch(t)
// In memory: each of some hundred unmounts makes the upper durable.
const memory = join(scratch.path, 'memory')
await scratch.sh(`mkdir ${quote(memory)} && mount -t tmpfs none ${quote(memory)}`)

for (const place of PLACES) {
  t.test(`litmus passes all of its 104 tests over ${place} files`, async (t) => {
    let total = 0
    let frozen = 0
    let copied = 0
    for (const [suite, tests] of Object.entries(SUITES)) {
      await withServer(t, join(memory, `${place}-${suite}`), place, async (url, layers) => {
        const printed = await litmus(scratch, suite, url)
        const summary = printed.match(/summary for `\w+': of (\d+) tests run: (\d+) passed, (\d+) failed/)
        t.same(summary?.slice(1).map(Number), [tests, tests, 0], suite, { printed })
        t.notMatch(printed, /WARNING|SKIPPED|FAIL/, `${suite}: no warning, nothing skipped`, { printed })
        total += Number(summary?.[2])
        frozen += layers.frozen
        copied += layers.copied
      })
    }
    t.equal(total, 104)
    t.equal(frozen > 50, place !== 'upper', `${frozen} times what was changed became a lower`)
    t.equal(copied > 100, place === 'copied-up', `${copied} objects were copied up before they were asked for`)
  })
}
