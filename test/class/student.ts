import { setTimeout as pause } from 'node:timers/promises'
import type { Random } from '../differential/random.ts'
import type { Edit, Material } from './model.ts'
import { Work } from './model.ts'

/** How a student reaches the view: by WebDAV or NFS. Each method fails if the server has died. */
export interface Door {
  /** Makes an edit. Returns whether it was refused because of the quota. */
  edit(edit: Edit): Promise<'done' | 'over quota'>
  /** What a file contains; undefined if there is none. */
  read(path: string): Promise<string | undefined>
  close(): Promise<void>
}

/** The present server, for those who use it. */
export interface School {
  /** The door of a student to the server that runs now; waits for one that is being started. */
  open(name: string): Promise<Door>
  /** Is told of each answered edit. */
  edited(): void
}

/** A student, who edits at random, and knows what the view must contain. */
export class Student {
  readonly name: string
  work: Work
  readonly faults: string[] = []
  /** How many edits were refused because of the quota. */
  refused = 0
  /** How many edits a death of the server interrupted. */
  interrupted = 0
  readonly #random: Random
  readonly #school: School
  #door: Door | undefined

  constructor(name: string, random: Random, material: Material, school: School) {
    this.name = name
    this.work = new Work(material)
    this.#random = random
    this.#school = school
  }

  async editTimes(count: number): Promise<void> {
    for (let done = 0; done < count; done++) {
      const edit = this.work.draw(this.#random, this.name)
      await this.#edit(edit)
      this.#school.edited()
      await pause(this.#random.below(3))
    }
  }

  async close(): Promise<void> {
    await this.#door?.close()
    this.#door = undefined
  }

  async #edit(edit: Edit): Promise<void> {
    try {
      this.#door ??= await this.#school.open(this.name)
      const outcome = await this.#door.edit(edit)
      const expected = edit.kind === 'overflow' ? 'over quota' : 'done'
      if (outcome !== expected) this.faults.push(`${this.name}: ${JSON.stringify(edit)}: ${outcome}`)
      if (outcome === 'over quota') this.refused++
      else this.work.apply(edit)
    } catch (error) {
      if (!(error instanceof Gone)) throw error
      this.interrupted++
      await this.close()
      this.#door = await this.#school.open(this.name)
      await this.#settle(edit, this.#door)
    }
  }

  /** Finds out whether an interrupted edit was made: wholly or not at all. */
  async #settle(edit: Edit, door: Door): Promise<void> {
    if (edit.kind === 'overflow') return
    const before = this.work.contentAt(edit.path)
    const found = await door.read(edit.path)
    const moved = edit.kind === 'move' ? await door.read(edit.to) : undefined
    const after = this.work.copy()
    after.apply(edit)
    if (found === after.contentAt(edit.path) && (edit.kind !== 'move' || moved === before)) this.work = after
    else if (edit.kind === 'add' && found === '') {
      // Over NFS a file is made before it is written.
      this.work.apply({ ...edit, content: '' })
    } else if (found !== before || moved !== undefined)
      this.faults.push(`${this.name}: ${JSON.stringify(edit)} was interrupted; there is ${found} instead of ${before}`)
  }
}

/** The server does not answer any more. */
export class Gone extends Error {}
