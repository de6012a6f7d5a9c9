import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A request in its parts, each of which can be changed. */
export interface WireRequest {
  readonly line: string
  readonly fields: readonly string[]
  readonly body: string
}

const folder = fileURLToPath(new URL('./corpus/', import.meta.url))

/** Every request of the corpus: line and fields one below the other, an empty line, the body. What once was a problem gets a file of its own. */
export function readCorpus(): WireRequest[] {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const text = readFileSync(folder + name, 'latin1')
      const end = text.indexOf('\n\n')
      const [line = '', ...fields] = text.slice(0, end).split('\n')
      return { line, fields, body: text.slice(end + 2) }
    })
}
