import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathOfVersion } from '../../server/layers/version-record.ts'
import { Random } from '../differential/random.ts'
import type { Handle } from '../helpers/nfs-client.ts'
import { DavDoor, NfsDoor } from './doors.ts'
import { apart, type Line, Material, type Work } from './model.ts'
import { hashOf, makeCourse, Server } from './server.ts'
import { type School, Student } from './student.ts'

/** The size of a class. */
export interface ClassSize {
  readonly davStudents: number
  readonly nfsStudents: number
  readonly files: number
  /** How many edits each student makes in each of the three lessons. */
  readonly edits: number
  readonly seed: number
}

/** How a class went. */
export interface ClassReport {
  /** A line for each fault. */
  readonly faults: readonly string[]
  readonly edits: number
  readonly refused: number
  readonly interrupted: number
  readonly kills: number
  /** Paths that a student and the new version of the course have both changed. */
  readonly conflicts: number
  /** The differences of all views at the end, which were compared. */
  readonly differences: number
}

/** The students that the teacher resets. */
const RESETS = 3

/**
 * A class works on a course: each student edits at random over WebDAV or NFS, also more than the quota allows. In two of three lessons the server is killed. Between them three views are
 * reset, one is rolled back, one is forked, one is squashed, and all get a new version of the course. At the end the diff of each view is exactly what its student did, and the first version of the course is unchanged.
 */
export async function holdClass(size: ClassSize, say: (text: string) => void = () => undefined): Promise<ClassReport> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-class-'))
  const server = new Server(dir)
  try {
    return await new Class(dir, server, size, say).hold()
  } finally {
    server.end()
    rmSync(dir, { recursive: true, force: true })
  }
}

class Class implements School {
  readonly #dir: string
  readonly #server: Server
  readonly #say: (text: string) => void
  readonly #random: Random
  /** The present version of the course. */
  #material: Material
  readonly #size: ClassSize
  readonly #students: Student[] = []
  readonly #byNfs = new Set<string>()
  readonly #roots = new Map<string, Handle>()
  readonly #faults: string[] = []
  #up: Promise<void> = Promise.resolve()
  #edits = 0
  #killAfter = Number.POSITIVE_INFINITY
  #killing: Promise<void> | undefined
  #kills = 0
  #differences = 0
  #conflicts = 0
  #forked: Work | undefined

  constructor(dir: string, server: Server, size: ClassSize, say: (text: string) => void) {
    this.#dir = dir
    this.#server = server
    this.#size = size
    this.#say = say
    this.#random = new Random(size.seed)
    this.#material = Material.first(size.files)
    for (let i = 0; i < size.davStudents + size.nfsStudents; i++) {
      const name = `student${i}`
      this.#students.push(new Student(name, this.#random.fork(), this.#material, this))
      if (i >= size.davStudents) this.#byNfs.add(name)
    }
  }

  async open(name: string): Promise<DavDoor | NfsDoor> {
    await this.#up
    if (this.#byNfs.has(name)) return await NfsDoor.open(this.#server.nfsPort, name, this.#roots)
    return new DavDoor(this.#server.origin, name)
  }

  edited(): void {
    if (++this.#edits !== this.#killAfter) return
    this.#killing = this.#kill()
  }

  async hold(): Promise<ClassReport> {
    await makeCourse(this.#dir, this.#material)
    const version = pathOfVersion(join(this.#dir, 'layers'), 'material', '1')
    const before = hashOf(version)
    await this.#server.start()
    await this.#lesson('first', true)
    const first = await this.#betweenFirstAndSecond()
    await this.#lesson('second', false)
    const kept = await this.#betweenSecondAndThird(first)
    const after = await this.#publish()
    await this.#lesson('third', true)
    for (const { name, work } of this.#students) await this.#compare(`course/${name}`, work.lines())
    for (const [view, lines] of [...kept, ...after]) await this.#compare(view, lines)
    for (const student of this.#students) await student.close()
    await this.#server.stop()
    if (hashOf(version) !== before) this.#faults.push('the first version of the course has changed')
    const sum = (of: (student: Student) => number) => this.#students.reduce((all, student) => all + of(student), 0)
    return {
      faults: [...this.#students.flatMap(({ faults }) => faults), ...this.#faults],
      edits: this.#edits,
      refused: sum(({ refused }) => refused),
      interrupted: sum(({ interrupted }) => interrupted),
      kills: this.#kills,
      conflicts: this.#conflicts,
      differences: this.#differences,
    }
  }

  async #lesson(which: string, withKill: boolean): Promise<void> {
    const all = this.#size.edits * this.#students.length
    this.#killAfter = withKill ? this.#edits + Math.floor(all / 4) + this.#random.below(Math.ceil(all / 2)) : Number.NaN
    await Promise.all(this.#students.map((student) => student.editTimes(this.#size.edits)))
    await this.#killing
    this.#killing = undefined
    this.#say(`the ${which} lesson is over: ${this.#edits} edits so far`)
  }

  async #kill(): Promise<void> {
    this.#up = (async () => {
      await this.#server.kill()
      this.#kills++
      await this.#server.start()
    })()
    await this.#up
  }

  /** Takes a snapshot to which the teacher returns later. */
  async #betweenFirstAndSecond(): Promise<Work> {
    const [student] = this.#students as [Student]
    await this.#server.order({ verb: 'take', view: `course/${student.name}`, name: 'week-1' })
    return student.work.copy()
  }

  /** What the teacher does between the lessons. Returns what else must be there at the end. */
  async #betweenSecondAndThird(week1: Work): Promise<Map<string, Line[]>> {
    const kept = new Map<string, Line[]>()
    const [back, forked, squashed, ...others] = this.#students as [Student, Student, Student, ...Student[]]
    const rolled = await this.#server.order({ verb: 'rollback', view: `course/${back.name}@week-1` })
    kept.set(rolled.aside as string, back.work.lines())
    back.work = week1.copy()
    kept.set(`course/${back.name}@week-1`, week1.lines())
    await this.#server.order({ verb: 'fork', view: `course/${forked.name}`, name: 'forked' })
    this.#forked = forked.work.copy()
    for (let i = 0; i < 6; i++) {
      await this.#server.order({ verb: 'take', view: `course/${squashed.name}`, name: `day-${i}` })
      await squashed.editTimes(2)
    }
    for (let i = 0; i < 6; i++) await this.#server.order({ verb: 'remove', view: `course/${squashed.name}@day-${i}` })
    const { layers } = await this.#server.order({ verb: 'squash', view: `course/${squashed.name}` })
    if (layers?.after !== 1) this.#faults.push(`squash of ${squashed.name} left ${JSON.stringify(layers)}`)
    // From both ends: over WebDAV and over NFS.
    for (const student of [...others.slice(0, RESETS - 1), ...others.slice(-1)]) {
      const { aside } = await this.#server.order({ verb: 'reset', view: `course/${student.name}` })
      kept.set(aside as string, student.work.lines())
      student.work = student.work.afresh()
    }
    return kept
  }

  /** The teacher publishes a new version of the course, on which all views are put; what students have changed stays. */
  async #publish(): Promise<Map<string, Line[]>> {
    const forked = this.#forked as Work
    const moved = new Set([...this.#students.map(({ work }) => work), forked].flatMap((work) => work.moved))
    const next = this.#material.next(this.#random, Math.ceil(this.#size.files / 4), moved)
    const reports = await this.#server.publish(next)
    for (const { view, state, error, conflictCount } of reports) {
      if (state !== 'rebased') this.#faults.push(`${view} is ${state} after the rebase: ${error}`)
      this.#conflicts += conflictCount
    }
    if (reports.length !== this.#students.length + 1) this.#faults.push(`${reports.length} views were rebased`)
    const kept = new Map<string, Line[]>()
    for (const { view, aside } of reports) {
      const work = this.#students.find(({ name }) => view === `course/${name}`)?.work ?? forked
      if (aside !== undefined) kept.set(aside, work.lines())
    }
    for (const student of this.#students) student.work = student.work.onto(next)
    this.#material = next
    kept.set('course/forked', forked.onto(next).lines())
    this.#say(`a new version is published: ${this.#conflicts} conflicts`)
    return kept
  }

  async #compare(view: string, expected: readonly Line[]): Promise<void> {
    const found = (await this.#server.diff(view)).flatMap((line) =>
      expected.includes(line) ? [line] : withoutMove(line),
    )
    this.#differences += found.length
    const [missing, wrong] = [
      expected.filter((line) => !found.includes(line)),
      found.filter((line) => !expected.includes(line)),
    ]
    this.#faults.push(...missing.map((line) => `${view} lacks ${line}`), ...wrong.map((line) => `${view} has ${line}`))
  }
}

/** A move that is not told as one by the model. */
function withoutMove(line: Line): Line[] {
  const [, from, to, content] = /^renamed (.*?) -> (.*?): (.*)$/.exec(line) ?? []
  return from === undefined ? [line] : apart(from, to as string, content as string)
}
