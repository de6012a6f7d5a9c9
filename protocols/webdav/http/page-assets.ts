import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'

const TYPES = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8' } as const

/** A file of a page. */
export interface PageFile {
  readonly name: string
  readonly content: Buffer
}

/** Reads files of pages from a directory of the program, which is no layer. */
export function readPageFiles(directory: URL, names: readonly string[]): readonly PageFile[] {
  return names.map((name) => ({ name, content: readFileSync(new URL(name, directory)) }))
}

/** Scripts and styles of pages, served together. */
export class PageAssets {
  readonly #files: readonly PageFile[]
  /** Changes with the content of any file, so that browsers may keep all for ever. Scripts name each other by relative URLs, so it is the same for all. */
  readonly #version: string

  constructor(files: readonly PageFile[]) {
    this.#files = files
    const all = files.reduce((hash, { content }) => hash.update(content), createHash('sha256'))
    this.#version = all.digest('hex').slice(0, 12)
  }

  /** The path of a file. */
  path(name: string): string {
    return `/-/${this.#version}/${name}`
  }

  /** The file with this path, and its media type. */
  find(path: string): { readonly type: string; readonly content: Buffer } | undefined {
    const found = this.#files.find(({ name }) => this.path(name) === path)
    return found && { type: typeOf(found), content: found.content }
  }

  /** Serves the files. */
  addTo(app: FastifyInstance): void {
    for (const file of this.#files) {
      app.get(this.path(file.name), (_request, reply) => {
        reply.header('cache-control', 'public, max-age=31536000, immutable').header('x-content-type-options', 'nosniff')
        reply.type(typeOf(file)).send(file.content)
      })
    }
  }
}

function typeOf({ name }: PageFile): string {
  return TYPES[name.endsWith('.js') ? 'js' : 'css']
}

const HERE = new URL('../page/', import.meta.url)

/** What all pages use. */
export const SHARED_FILES = readPageFiles(HERE, [
  'page.css',
  'dialogs.css',
  'changes.css',
  'dialogs.js',
  'changes.js',
  'tabs.js',
])

/** The files of the pages of users. */
export const ASSETS = new PageAssets([
  ...SHARED_FILES,
  ...readPageFiles(HERE, ['page.js', 'access.js', 'entry-actions.js', 'links.js', 'mine.js', 'place.js', 'sorting.js']),
  ...readPageFiles(HERE, ['tokens.js', 'uploads.js']),
])
