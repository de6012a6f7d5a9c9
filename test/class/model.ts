import type { Random } from '../differential/random.ts'

/** All files of the course and of the students have this length, so that one WRITE replaces a content. */
export const CONTENT_BYTES = 64

export function contentOf(text: string): string {
  return text.padEnd(CONTENT_BYTES, '.').slice(0, CONTENT_BYTES)
}

/** A version of the course: its files, and what they contain. */
export class Material {
  readonly paths: readonly string[]
  readonly directories: readonly string[]
  /** Files that the teacher has changed in this version, or added. */
  readonly #changed: ReadonlyMap<string, string>
  readonly #all: ReadonlySet<string>

  private constructor(paths: readonly string[], directories: readonly string[], changed: ReadonlyMap<string, string>) {
    this.paths = paths
    this.directories = directories
    this.#changed = changed
    this.#all = new Set(paths)
  }

  static first(files: number): Material {
    const directories = Math.ceil(files / FILES_IN_A_DIRECTORY)
    const names = Array.from({ length: directories }, (_, at) => `unit${Math.floor(at / 20)}/lesson${at % 20}`)
    const paths = Array.from(
      { length: files },
      (_, at) => `${names[Math.floor(at / FILES_IN_A_DIRECTORY)]}/file${at % FILES_IN_A_DIRECTORY}.txt`,
    )
    return new Material(paths, names, new Map())
  }

  /** The next version: some files are changed, removed and added, but none of `kept`. */
  next(random: Random, count: number, kept: ReadonlySet<string>): Material {
    const changed = new Map(this.#changed)
    const removed = new Set<string>()
    for (let i = 0; i < count; i++) {
      const path = random.pick(this.paths)
      if (kept.has(path)) continue
      if (i % 4 === 0) removed.add(path)
      else changed.set(path, contentOf(`the new course: ${path}`))
    }
    const added = Array.from({ length: count }, (_, i) => `${random.pick(this.directories)}/new-${i}.txt`)
    for (const path of added) changed.set(path, contentOf(`new in the course: ${path}`))
    return new Material([...this.paths.filter((path) => !removed.has(path)), ...added], this.directories, changed)
  }

  has(path: string): boolean {
    return this.#all.has(path)
  }

  contentOf(path: string): string {
    return this.#changed.get(path) ?? contentOf(`the course: ${path}`)
  }
}

const FILES_IN_A_DIRECTORY = 50

/** A file that a student has touched: what it contains, and which file of the course it was. */
interface Touched {
  readonly content: string
  readonly base: string | undefined
  /** A PUT may replace the file by another one, which was not moved then. */
  readonly written: boolean
}

/** One edit of a student. */
export type Edit =
  | { readonly kind: 'write' | 'add'; readonly path: string; readonly content: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'move'; readonly path: string; readonly to: string }
  /** Too much for the quota; must be refused and change nothing. */
  | { readonly kind: 'overflow'; readonly path: string }

/** A difference of a view from the course, as a line for comparison. */
export type Line = string

/** A move as a removed and an added file. */
export function apart(from: string, to: string, content: string): Line[] {
  return [`removed ${from}`, `added ${to}: ${content}`]
}

/** What the view of a student must contain. */
export class Work {
  readonly #material: Material
  readonly #touched: Map<string, Touched>
  /** Files of the course that are not at their place any more. */
  readonly #left: Set<string>
  #names = 0

  /** @param from the work on an earlier version: what the student has done stays */
  constructor(material: Material, from?: Work) {
    this.#material = material
    this.#touched = new Map(from === undefined ? [] : from.#touched)
    this.#left = new Set(from === undefined ? [] : from.#left)
    this.#names = from === undefined ? 0 : from.#names
  }

  copy(): Work {
    return new Work(this.#material, this)
  }

  /** Nothing was done; new names go on, so that no name is used twice. */
  afresh(): Work {
    const work = new Work(this.#material)
    work.#names = this.#names
    return work
  }

  /** After a rebase: a file that was moved before is another one than that of the new version. */
  onto(material: Material): Work {
    const work = new Work(material, this)
    for (const [path, file] of work.#touched)
      if (file.base !== path) work.#touched.set(path, { ...file, written: true })
    return work
  }

  /** The files of the course that the student has moved. */
  get moved(): string[] {
    return [...this.#touched].flatMap(([path, { base }]) => (base !== undefined && base !== path ? [base] : []))
  }

  draw(random: Random, who: string): Edit {
    const kind = random.weighted({ write: 10, add: 5, remove: 3, move: 3, overflow: 1 })
    const present = this.#present(random)
    const fresh = `${random.pick(this.#material.directories)}/${who}-${++this.#names}.txt`
    if (kind === 'add') return { kind, path: fresh, content: contentOf(`added by ${who}, ${this.#names}`) }
    if (kind === 'move') return { kind, path: present, to: fresh }
    if (kind === 'write') return { kind, path: present, content: contentOf(`written by ${who}, ${this.#names}`) }
    return { kind, path: present }
  }

  apply(edit: Edit): void {
    if (edit.kind === 'overflow') return
    const { path } = edit
    if (edit.kind === 'add') {
      this.#touched.set(path, { content: edit.content, base: undefined, written: true })
      return
    }
    const now = this.#at(path)
    this.#touched.delete(path)
    if (now.base !== undefined) this.#left.add(now.base)
    if (edit.kind === 'write') this.#touched.set(path, { ...now, content: edit.content, written: true })
    if (edit.kind === 'move') this.#touched.set(edit.to, now)
  }

  /** What is at a path that exists; undefined if nothing is. */
  contentAt(path: string): string | undefined {
    const touched = this.#touched.get(path)
    if (touched !== undefined) return touched.content
    return this.#left.has(path) || !this.#material.has(path) ? undefined : this.#material.contentOf(path)
  }

  /** The lines that a diff of the view must have. */
  lines(): Line[] {
    const lines: Line[] = []
    const kept = new Set<string>()
    for (const [path, { content, base, written }] of this.#touched) {
      if (base === undefined || !this.#material.has(base)) lines.push(`added ${path}: ${content}`)
      else {
        kept.add(base)
        if (base !== path && written) lines.push(...apart(base, path, content))
        else if (base !== path) lines.push(`renamed ${base} -> ${path}: ${content}`)
        else if (content !== this.#material.contentOf(base)) lines.push(`changed ${path}: ${content}`)
      }
    }
    for (const path of this.#left) if (!kept.has(path) && this.#material.has(path)) lines.push(`removed ${path}`)
    return lines.sort()
  }

  #at(path: string): Touched {
    return this.#touched.get(path) ?? { content: this.#material.contentOf(path), base: path, written: false }
  }

  #present(random: Random): string {
    const own = [...this.#touched.keys()]
    if (own.length > 0 && random.chance(30)) return random.pick(own)
    for (;;) {
      const path = random.pick(this.#material.paths)
      if (!this.#left.has(path) || this.#touched.has(path)) return path
    }
  }
}
