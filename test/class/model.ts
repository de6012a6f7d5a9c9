import type { Random } from '../differential/random.ts'

/** All files of the course and of the students have this length, so that one WRITE replaces a content. */
export const CONTENT_BYTES = 64

export function contentOf(text: string): string {
  return text.padEnd(CONTENT_BYTES, '.').slice(0, CONTENT_BYTES)
}

/** The files of the course, and what they contain. */
export class Material {
  readonly paths: readonly string[]
  readonly directories: readonly string[]

  constructor(files: number) {
    const directories = Math.ceil(files / FILES_IN_A_DIRECTORY)
    this.directories = Array.from({ length: directories }, (_, at) => `unit${Math.floor(at / 20)}/lesson${at % 20}`)
    this.paths = Array.from(
      { length: files },
      (_, at) => `${this.directories[Math.floor(at / FILES_IN_A_DIRECTORY)]}/file${at % FILES_IN_A_DIRECTORY}.txt`,
    )
  }

  contentOf(path: string): string {
    return contentOf(`the course: ${path}`)
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
    return this.#left.has(path) || !this.#material.paths.includes(path) ? undefined : this.#material.contentOf(path)
  }

  /** The lines that a diff of the view must have. */
  lines(): Line[] {
    const lines: Line[] = []
    const kept = new Set<string>()
    for (const [path, { content, base, written }] of this.#touched) {
      if (base === undefined) lines.push(`added ${path}: ${content}`)
      else {
        kept.add(base)
        if (base !== path && written) lines.push(...apart(base, path, content))
        else if (base !== path) lines.push(`renamed ${base} -> ${path}: ${content}`)
        else if (content !== this.#material.contentOf(base)) lines.push(`changed ${path}: ${content}`)
      }
    }
    for (const path of this.#left) if (!kept.has(path)) lines.push(`removed ${path}`)
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
