import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'

const TYPES = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8' } as const

/** The files of the pages for browsers, read at the start. They come with the program and are not layers. */
const FILES = [
  ...['page.css', 'dialogs.css', 'page.js', 'access.js', 'dialogs.js', 'entry-actions.js', 'links.js', 'place.js'],
  ...['sorting.js', 'tokens.js', 'uploads.js'],
].map((name) => ({ name, content: readFileSync(new URL(`../page/${name}`, import.meta.url)) }))

/** Changes with the content of any file, so that browsers may keep all for ever. Scripts name each other by relative URLs, so it is the same for all. */
const VERSION = FILES.reduce((hash, { content }) => hash.update(content), createHash('sha256'))
  .digest('hex')
  .slice(0, 12)

/** The path of a file of the pages. */
export function assetPath(name: string): string {
  return `/-/${VERSION}/${name}`
}

/** Serves the files of the pages. */
export function addPageAssets(app: FastifyInstance): void {
  for (const { name, content } of FILES) {
    app.get(assetPath(name), (_request, reply) => {
      reply.header('cache-control', 'public, max-age=31536000, immutable').header('x-content-type-options', 'nosniff')
      reply.type(TYPES[name.endsWith('.js') ? 'js' : 'css']).send(content)
    })
  }
}
