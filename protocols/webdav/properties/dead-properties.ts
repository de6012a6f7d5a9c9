import type { Attr, Inode } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { parseXml } from '../http/xml.ts'
import { serializeElement } from '../http/xml-write.ts'
import type { DavView } from '../state/context.ts'

/** A property that the server only keeps (RFC 4918 section 4): its name, and its element as XML that stands on its own. */
export interface DeadProperty {
  readonly uri: string
  readonly local: string
  readonly xml: string
}

const SLOT = 'dav'
const NONE: readonly DeadProperty[] = []
/** Properties of more than so much are read anew each time instead of being remembered, bytes. */
const REMEMBERED_BYTES = 4096

/** A power of two: a WeakMap of 100,000 entries takes 50 ms of the event loop when it grows. */
const PARTS = 128

/** What objects had when these were their attributes: a change of a note gives the object new ones. */
const remembered = Array.from({ length: PARTS }, () => new WeakMap<Attr, readonly DeadProperty[]>())

function partOf({ fileIdLo }: Attr): WeakMap<Attr, readonly DeadProperty[]> {
  return remembered[fileIdLo & (PARTS - 1)] as WeakMap<Attr, readonly DeadProperty[]>
}

/** The dead properties that an object with these attributes is known to have; undefined when they must be read. */
export function knownDead(attr: Attr): readonly DeadProperty[] | undefined {
  return partOf(attr).get(attr)
}

/** Reads the dead properties of an object and remembers them for as long as `attr`, got before, are its attributes. */
export async function learnDead(view: DavView, inode: Inode, attr: Attr): Promise<readonly DeadProperty[]> {
  const note = await view.overlay.getProtocolData(view.cred, inode, SLOT)
  const dead = note === undefined ? NONE : decode(note)
  if (note === undefined || note.length <= REMEMBERED_BYTES) partOf(attr).set(attr, dead)
  return dead
}

/** The dead properties of an object, in the order they were first set. */
export async function readDead(view: DavView, inode: Inode): Promise<readonly DeadProperty[]> {
  const note = await view.overlay.getProtocolData(view.cred, inode, SLOT)
  return note === undefined ? NONE : decode(note)
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
}

/** Gives `to` the dead properties of `from`, and no others. */
export async function copyDead(fromView: DavView, from: Inode, toView: DavView, to: Inode): Promise<void> {
  const note = await fromView.overlay.getProtocolData(fromView.cred, from, SLOT)
  const present = await toView.overlay.getProtocolData(toView.cred, to, SLOT)
  if (note !== undefined || present !== undefined) await toView.overlay.setProtocolData(toView.cred, to, SLOT, note)
}

function encode(properties: readonly DeadProperty[]): Uint8Array {
  return Buffer.from(JSON.stringify(properties.map(({ uri, local, xml }) => [uri, local, xml])), 'utf8')
}

/** Far above what this adapter lets anybody set. */
const LIMITS = { xmlDepth: 64, xmlElements: 10_000 }

/** Reads a note. It may be a layer's own, made by anybody: what in it is no whole element of that name does not count, and none of it goes out as it is. */
function decode(note: Uint8Array): readonly DeadProperty[] {
  const value = parseJson(Buffer.from(note).toString('utf8'))
  if (!Array.isArray(value) || !value.every(isTriple)) return NONE
  return value.flatMap(([uri, local, xml]) => checked(uri, local, xml))
}

function checked(uri: string, local: string, xml: string): DeadProperty[] {
  try {
    const element = parseXml(xml, LIMITS)
    // Written anew: what stands around an element or in its prefixes is then of our own making.
    return element.uri === uri && element.local === local ? [{ uri, local, xml: serializeElement(element) }] : []
  } catch (error) {
    if (error instanceof DavError) return []
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
