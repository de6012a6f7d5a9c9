import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Where file handles of the run stand in place of a name in braces. */
export type Handles = ReadonlyMap<string, Buffer>

/**
 * One entry of the corpus: a call, or bytes as they go over the wire. In its file: comments after `#`; then `call PROGRAM VERSION PROCEDURE` or
 * `stream`; then bytes in hex and, in braces, names of objects whose file handle (with its length) stands there.
 */
export interface CorpusEntry {
  readonly name: string
  /** Program, version and procedure; undefined for a stream. */
  readonly call: readonly [number, number, number] | undefined
  bytes(handles: Handles): Buffer
}

const folder = fileURLToPath(new URL('./corpus/', import.meta.url))

/** Every entry, by the names of their files. */
export function readCorpus(): CorpusEntry[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.txt'))
    .sort()
    .map((name) => parseEntry(name.slice(0, -4), readFileSync(folder + name, 'latin1')))
}

/** @throws Error it is not in the form of the corpus */
export function parseEntry(name: string, text: string): CorpusEntry {
  const words = text
    .replace(/#.*$/gm, '')
    .split(/\s+/)
    .filter((word) => word !== '')
  const kind = words.shift()
  if (kind !== 'call' && kind !== 'stream') throw new Error(`corpus/${name}: begins with neither call nor stream`)
  const call = kind === 'call' ? words.splice(0, 3).map(Number) : undefined
  return {
    name,
    call: call as CorpusEntry['call'],
    bytes: (handles) => Buffer.concat(words.map((word) => bytesOf(name, word, handles))),
  }
}

function bytesOf(entry: string, word: string, handles: Handles): Buffer {
  if (/^([0-9a-f]{2})+$/i.test(word)) return Buffer.from(word, 'hex')
  const handle = handles.get(/^\{(\w+)\}$/.exec(word)?.[1] ?? '')
  if (handle === undefined) throw new Error(`corpus/${entry}: '${word}' is neither hex nor a known object in braces`)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(handle.length)
  return Buffer.concat([length, handle, Buffer.alloc(-handle.length & 3)])
}
