import { setTimeout as pause } from 'node:timers/promises'
import { Random } from '../../differential/random.ts'
import { type Change, KINDS, type Kind, type Known, layersToMerge, perform } from './changes.ts'
import { type Interrupted, judge, type Model } from './judge.ts'
import { startVictim, type Victim } from './server.ts'

/** Views that are there before a kill, and most that are then left. */
const [FEWEST, MOST] = [8, 11]
const LONGEST_MS = 80
/** Ends a wait for an answer or a death that does not come. */
const PATIENCE_MS = 60_000

/** A kind of change, and the point of it that kills; 0: none does, and the points are counted. */
export interface KillTask {
  readonly kind: Kind
  readonly killAt: number
  /** The number of its points. */
  readonly of?: number
}

/** A template whose server is killed again and again. */
export class KillRun {
  readonly failures: string[] = []
  kills = 0
  unanswered = 0
  random = 0
  readonly #dir: string
  readonly #seed: number
  readonly #random: Random
  readonly #stopAt: number
  readonly #model: Model = { views: [], gone: [] }
  #victim: Victim | undefined
  /** What the present server was started with. */
  #killAt: number | undefined
  #names = 0
  #texts = 0

  /** @param dir of a course, see `makeCourse` */
  constructor(dir: string, seed: number, stopAt: number) {
    this.#dir = dir
    this.#seed = seed
    this.#random = new Random(seed)
    this.#stopAt = stopAt
  }

  async start(): Promise<void> {
    await this.#restart(undefined)
    await this.#balance()
  }

  async end(): Promise<void> {
    await this.#victim?.kill()
  }

  /** Takes tasks from the list, which other runs share, and kills a server for each. `counted` is told the number of points of a kind. */
  async work(tasks: KillTask[], counted: (kind: Kind, points: number) => void): Promise<void> {
    let task = tasks.shift()
    while (task !== undefined && !this.#isOver) {
      const { kind, killAt, of } = task
      await this.#need(killAt)
      const one = await this.#attempt(kind)
      if (killAt === 0) counted(kind, await this.#current.passed())
      task = tasks.shift()
      const when = killAt === 0 ? `killed after ${kind}` : `killed at point ${killAt} of ${of} of ${kind}`
      await this.#kill([one], when, task?.killAt)
    }
  }

  /** Kills at random moments while `more`, with as many changes under way as there are kinds. */
  async atRandom(more: () => boolean): Promise<void> {
    while (!this.#isOver && more()) {
      await this.#need(undefined)
      await this.#balance()
      const taken: Known[] = []
      const changes: Change[] = []
      for (const kind of KINDS) if (kind !== 'close') changes.push(await this.#prepared(kind, taken))
      const under = changes.map((change) => this.#outcome(change))
      await pause(this.#random.below(LONGEST_MS * 10) / 10)
      void this.#current.kill()
      this.random++
      await this.#kill(await Promise.all(under), `killed at random (${this.random})`, undefined)
    }
  }

  get #isOver(): boolean {
    return this.failures.length > 0 || Date.now() > this.#stopAt
  }

  get #current(): Victim {
    return this.#victim as Victim
  }

  /** Makes a change with the points armed, and tells how it ended. */
  async #attempt(kind: Kind): Promise<Interrupted> {
    await this.#balance()
    // Views are closed after a start.
    if (kind === 'open') await this.#restart(this.#killAt)
    const change = await this.#prepared(kind, [])
    await this.#current.arm()
    return await this.#outcome(change)
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

  /** Draws a change. A rollback needs a snapshot first. */
  async #prepared(kind: Kind, taken: Known[]): Promise<Change> {
    const change = this.#draw(kind, taken)
    if (change.kind === 'squash') await layersToMerge(this.#current, change.view)
    if (change.kind !== 'rollback' || change.to.name !== '') return change
    const as = this.#newName()
    await this.#undisturbed({ kind: 'snapshot', view: change.view, as })
    return { ...change, to: { name: as, text: change.view.text } }
  }

  /** @param taken views that other changes use; the drawn one is added */
  #draw(kind: Kind, taken: Known[]): Change {
    if (kind === 'make by a mount' || kind === 'make by command' || kind === 'make and use')
      return { kind, name: this.#newName() }
    const view = this.#random.pick(this.#model.views.filter((each) => !taken.includes(each)))
    taken.push(view)
    if (kind === 'rename') return { kind, view, to: this.#newName() }
    if (kind === 'snapshot') return { kind, view, as: this.#newName() }
    if (kind === 'fork') return { kind, view, fork: this.#newName() }
    if (kind !== 'rollback') return { kind, view }
    const to = view.snapshots.length === 0 ? { name: '', text: '' } : this.#random.pick(view.snapshots)
    // Of the same length, so that it replaces the whole content.
    const text = `${view.text.slice(0, -4)}${String(++this.#texts).padStart(4, '0')}`
    return { kind, view, text, to }
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
    this.failures.push(...lines.map((line) => `seed ${this.#seed}, ${when}: ${line}`))
  }
}
