import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'

/** A file of the page for browsers. */
export interface PageAsset {
  /** Changes with the content, so that browsers may cache it forever. */
  readonly href: string
  readonly type: string
  readonly content: Buffer
}

/** The script of the page. */
export const PAGE_SCRIPT = load('page.js', 'text/javascript; charset=utf-8')
/** The style sheet of the page. */
export const PAGE_STYLE = load('page.css', 'text/css; charset=utf-8')

/** Reads a file of the program at startup. Such files are not layers. */
function load(name: string, type: string): PageAsset {
  const content = readFileSync(new URL(`../page/${name}`, import.meta.url))
  const version = createHash('sha256').update(content).digest('hex').slice(0, 12)
  return { href: `/-/${version}/${name}`, type, content }
}

/** Serves the files of the page. */
export function addPageAssets(app: FastifyInstance): void {
  for (const { href, type, content } of [PAGE_SCRIPT, PAGE_STYLE]) {
    app.get(href, (_request, reply) => {
      reply.header('cache-control', 'public, max-age=31536000, immutable').header('x-content-type-options', 'nosniff')
      reply.type(type).send(content)
    })
  }
}
