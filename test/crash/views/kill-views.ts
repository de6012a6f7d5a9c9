import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Random } from '../../differential/random.ts'
import { type Change, KINDS, type Kind, type Known, perform } from './changes.ts'
import { type Interrupted, judge, type Model } from './judge.ts'
import { makeCourse, startVictim, type Victim } from './server.ts'

/** Views that are there before a kill, and most that are then left. */
const [FEWEST, MOST] = [4, 7]
const LONGEST_MS = 80
/** Ends a wait for an answer or a death that does not come. */
const PATIENCE_MS = 60_000

export interface ViewKillSettings {
  /** Only at so many points of each kind of change. */
  readonly sample: number
  /** Kills at random moments with several changes under way. */
  readonly random: number
  readonly seconds: number
  readonly seed: number
  /** Only kinds of change whose name has this in it. */
  readonly scenario: string
}

/**
 * Kills a server with a template at each point of making, opening, closing, renaming and removing a view, then at random moments with several of these under way, each
 * time on what the last kill has left. Returns the exit status.
 */
export async function killViews(settings: ViewKillSettings): Promise<number> {
  const started = performance.now()
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-crash-views-'))
  const run = new Run(dir, settings)
  try {
    makeCourse(dir)
    await run.start()
    for (const kind of KINDS.filter((name) => name.includes(settings.scenario))) await run.sweep(kind)
    await run.atRandom()
  } finally {
    await run.end()
    rmSync(dir, { recursive: true, force: true })
  }
  for (const line of run.failures.slice(0, 40)) console.log(`=> ${line}`)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(
    `${run.kills} kills while views change, ${run.unanswered} before an answer, ${run.random} of all at random, ${run.failures.length} wrong, ${seconds} s`,
  )
  return run.failures.length === 0 ? 0 : 1
}

class Run {
  readonly failures: string[] = []
  kills = 0
  unanswered = 0
  random = 0
  readonly #dir: string
  readonly #settings: ViewKillSettings
  readonly #random: Random
  readonly #stopAt: number
  readonly #model: Model = { views: [], gone: [] }
  #victim: Victim | undefined
  /** What the present server was started with. */
  #killAt: number | undefined
  #names = 0

  constructor(dir: string, settings: ViewKillSettings) {
    this.#dir = dir
    this.#settings = settings
    this.#random = new Random(settings.seed)
    this.#stopAt = Date.now() + settings.seconds * 1000
  }

  async start(): Promise<void> {
    await this.#restart(undefined)
    await this.#balance()
  }

  async end(): Promise<void> {
    await this.#victim?.kill()
  }

  /** Kills at the points of one kind of change. */
  async sweep(kind: Kind): Promise<void> {
    if (this.#isOver) return
    const before = [this.kills, this.failures.length] as const
    await this.#need(0)
    const [undisturbed, points] = await this.#attempt(kind)
    const all = Array.from({ length: points }, (_, i) => i + 1)
    while (all.length > this.#settings.sample) all.splice(this.#random.below(all.length), 1)
    await this.#kill([undisturbed], `killed after ${kind}`, all[0])
    for (const [i, killAt] of all.entries()) {
      if (this.#isOver) break
      await this.#need(killAt)
      const [one] = await this.#attempt(kind)
      await this.#kill([one], `killed at point ${killAt} of ${points} of ${kind}`, all[i + 1])
    }
    const [kills, failures] = before
    console.log(`${kind}: ${points} points, ${this.kills - kills} kills, ${this.failures.length - failures} wrong`)
  }

  /** Kills at random moments, with as many changes under way as there are kinds. */
  async atRandom(): Promise<void> {
    for (let i = 0; i < this.#settings.random && !this.#isOver; i++) {
      await this.#need(undefined)
      await this.#balance()
      const taken: Known[] = []
      const changes = KINDS.filter((kind) => kind !== 'close').map((kind) => this.#draw(kind, taken))
      const under = changes.map((change) => this.#outcome(change))
      await pause(this.#random.below(LONGEST_MS * 10) / 10)
      void this.#current.kill()
      this.random++
      await this.#kill(await Promise.all(under), `killed at random (${i + 1})`, undefined)
    }
  }

  get #isOver(): boolean {
    return this.failures.length > 0 || Date.now() > this.#stopAt
  }

  get #current(): Victim {
    return this.#victim as Victim
  }

  /** Makes a change with the points armed; tells how it ended, and if it was not killed, how many points there were. */
  async #attempt(kind: Kind): Promise<[Interrupted, number]> {
    await this.#balance()
    // Views are closed after a start.
    if (kind === 'open') await this.#restart(this.#killAt)
    const change = this.#draw(kind, [])
    await this.#current.arm()
    const one = await this.#outcome(change)
    return [one, this.#killAt === 0 ? await this.#current.passed() : 0]
  }

  /** Has a server that dies at this point. */
  async #need(killAt: number | undefined): Promise<void> {
    if (this.#killAt !== killAt) await this.#restart(killAt)
  }

  async #restart(killAt: number | undefined): Promise<void> {
    await this.#victim?.kill()
    this.#victim = await startVictim(this.#dir, killAt)
    this.#killAt = killAt
  }

  /** Makes or removes views until there are as many as there should be. */
  async #balance(): Promise<void> {
    const { views } = this.#model
    while (this.#model.views.length < FEWEST) await this.#undisturbed(this.#draw('make by command', []))
    if (views.length > MOST) for (const view of views.slice(FEWEST)) await this.#undisturbed({ kind: 'remove', view })
  }

  async #undisturbed(change: Change): Promise<void> {
    await perform(this.#current, change)
    this.#note(await judge(this.#dir, this.#current, this.#model, [{ change, answered: true }]), `after ${change.kind}`)
  }

  /** @param taken views that other changes use; the drawn one is added */
  #draw(kind: Kind, taken: Known[]): Change {
    if (kind === 'make by a mount' || kind === 'make by command') return { kind, name: this.#newName() }
    const view = this.#random.pick(this.#model.views.filter((each) => !taken.includes(each)))
    taken.push(view)
    return kind === 'rename' ? { kind, view, to: this.#newName() } : { kind, view }
  }

  #newName(): string {
    return `user${++this.#names}`
  }

  /** How a change ends: answered, or with the death of the server. */
  async #outcome(change: Change): Promise<Interrupted> {
    const victim = this.#current
    const late = pause(PATIENCE_MS, undefined, { ref: false }).then(() => {
      throw new Error(`${change.kind}: neither an answer nor the death of the server`)
    })
    const dead = victim.died.then(() => false)
    const done = perform(victim, change).then(
      () => true,
      async (error) => {
        // A dead server closes its connections first.
        await Promise.race([dead, pause(10_000, undefined, { ref: false }).then(() => Promise.reject(error))])
        return false
      },
    )
    return { change, answered: await Promise.race([done, dead, late]) }
  }

  /** Kills the server unless it is dead, starts another one, which can be killed at the point `nextKillAt`, and judges. */
  async #kill(interrupted: readonly Interrupted[], when: string, nextKillAt: number | undefined): Promise<void> {
    this.kills++
    if (interrupted.some(({ answered }) => !answered)) this.unanswered++
    await this.#restart(nextKillAt)
    this.#note(await judge(this.#dir, this.#current, this.#model, interrupted), when)
  }

  #note(lines: readonly string[], when: string): void {
    this.failures.push(...lines.map((line) => `seed ${this.#settings.seed}, ${when}: ${line}`))
  }
}
