import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Attr, type Inode, loopBudget } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { parseXml, type XmlElement, XmlReader } from '../http/xml.ts'
import { serializeElement } from '../http/xml-write.ts'
import type { DavView } from '../state/context.ts'

/** A property that the server only stores (RFC 4918 section 4): its name, and its element as self-contained XML. */
export interface DeadProperty {
  readonly uri: string
  readonly local: string
  readonly xml: string
}

const SLOT = 'dav'
const NONE: readonly DeadProperty[] = []
/** Properties larger than this are read each time instead of being cached, in bytes. */
const REMEMBERED_BYTES = 4096

/** A power of two. Several maps are used because a WeakMap of 100,000 entries blocks the event loop for 50 ms when it grows. */
const PARTS = 128

/** Properties by the attributes of their object: a change of properties replaces the attributes. */
const remembered = Array.from({ length: PARTS }, () => new WeakMap<Attr, readonly DeadProperty[]>())

function partOf({ fileIdLo }: Attr): WeakMap<Attr, readonly DeadProperty[]> {
  return remembered[fileIdLo & (PARTS - 1)] as WeakMap<Attr, readonly DeadProperty[]>
}

/** The cached dead properties of an object with these attributes; undefined if they must be read. */
export function knownDead(attr: Attr): readonly DeadProperty[] | undefined {
  return partOf(attr).get(attr)
}

/** Reads the dead properties of an object and caches them while `attr`, read before, are its attributes. */
export async function learnDead(view: DavView, inode: Inode, attr: Attr): Promise<readonly DeadProperty[]> {
  const note = await view.overlay.getProtocolData(view.cred, inode, SLOT)
  const dead = note === undefined ? NONE : await decode(note)
  if (note === undefined || note.length <= REMEMBERED_BYTES) partOf(attr).set(attr, dead)
  return dead
}

/** The dead properties of an object, in the order they were first set. */
export async function readDead(view: DavView, inode: Inode): Promise<readonly DeadProperty[]> {
  const note = await view.overlay.getProtocolData(view.cred, inode, SLOT)
  return note === undefined ? NONE : await decode(note)
}

/** Replaces all dead properties of an object in one step. @throws DavError 507 they are larger than `maxBytes` · ENOSPC */
export async function writeDead(
  view: DavView,
  inode: Inode,
  properties: readonly DeadProperty[],
  maxBytes: number,
): Promise<void> {
  const note = properties.length === 0 ? undefined : encode(properties)
  if (note !== undefined && note.length > maxBytes) throw new DavError(507, 'the properties are too large')
  await view.overlay.setProtocolData(view.cred, inode, SLOT, note)
  if (note !== undefined) trusted.set(digestOf(note), true)
}

/** Replaces the dead properties of `to` by those of `from`. */
export async function copyDead(fromView: DavView, from: Inode, toView: DavView, to: Inode): Promise<void> {
  const note = await fromView.overlay.getProtocolData(fromView.cred, from, SLOT)
  const present = await toView.overlay.getProtocolData(toView.cred, to, SLOT)
  if (note !== undefined || present !== undefined) await toView.overlay.setProtocolData(toView.cred, to, SLOT, note)
}

function encode(properties: readonly DeadProperty[]): Uint8Array {
  return Buffer.from(JSON.stringify(properties.map(({ uri, local, xml }) => [uri, local, xml])), 'utf8')
}

/** Far above the limit of this adapter. */
const LIMITS = { xmlDepth: 64, xmlElements: 10_000 }
/** The number of characters parsed between two checks of the event loop share. */
const SLICE = 2048

/** Digests of recently written or validated properties, which need not be parsed again. */
const trusted = new LRUCache<string, true>({ max: 10_000 })

function digestOf(note: Uint8Array): string {
  return hash('sha256', note, 'base64')
}

/** Parses stored properties. They may come from an untrusted layer: anything that is not a complete element of its name is ignored, and nothing is sent unchecked. */
async function decode(note: Uint8Array): Promise<readonly DeadProperty[]> {
  const value = parseJson(Buffer.from(note).toString('utf8'))
  if (!Array.isArray(value) || !value.every(isTriple)) return NONE
  const digest = digestOf(note)
  if (trusted.get(digest)) return value.map(([uri, local, xml]) => ({ uri, local, xml }))
  const properties = await checked(value)
  const asWritten = properties.length === value.length && properties.every(({ xml }, at) => xml === value[at]?.[2])
  if (asWritten) trusted.set(digest, true)
  return properties
}

async function checked(value: readonly [string, string, string][]): Promise<readonly DeadProperty[]> {
  const elements = await parseTogether(value.map(([, , xml]) => xml))
  const properties: DeadProperty[] = []
  for (const [at, [uri, local, xml]] of value.entries()) {
    if (loopBudget.spent) await loopBudget.rest()
    const element = elements?.[at] ?? parseAlone(xml)
    // Serialize them again, so that prefixes and surroundings are our own.
    if (element?.uri === uri && element.local === local) properties.push({ uri, local, xml: serializeElement(element) })
  }
  return properties
}

/** Parses each of `texts` as one element, with a single parser, because creating a parser costs more than a property. Undefined if any text is not one element. */
async function parseTogether(texts: readonly string[]): Promise<XmlElement[] | undefined> {
  const text = `<all>${texts.join('')}</all>`
  try {
    const reader = new XmlReader(LIMITS)
    for (let at = 0; at < text.length; at += SLICE) {
      if (loopBudget.spent) await loopBudget.rest()
      reader.write(text.slice(at, at + SLICE))
    }
    const elements = reader.finish().children.filter((child) => typeof child !== 'string')
    return elements.length === texts.length ? elements : undefined
  } catch (error) {
    if (error instanceof DavError) return undefined
    throw error
  }
}

function parseAlone(xml: string): XmlElement | undefined {
  try {
    return parseXml(xml, LIMITS)
  } catch (error) {
    if (error instanceof DavError) return undefined
    throw error
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isTriple(value: unknown): value is [string, string, string] {
  return Array.isArray(value) && value.length === 3 && value.every((part) => typeof part === 'string')
}
