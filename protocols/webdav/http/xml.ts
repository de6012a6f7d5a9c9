import { type SaxesAttributeNS, SaxesParser, type SaxesTagNS } from 'saxes'
import { badRequest, DavError } from './dav-error.ts'

/** An attribute with its namespace; declarations of namespaces are not among them. */
export interface XmlAttribute {
  readonly prefix: string
  readonly local: string
  readonly uri: string
  readonly value: string
}

/** An element of a request body. */
export interface XmlElement {
  readonly prefix: string
  readonly local: string
  readonly uri: string
  readonly attributes: readonly XmlAttribute[]
  /** Elements and text in document order; comments and processing instructions are dropped. */
  readonly children: readonly (XmlElement | string)[]
  /** The `xml:lang` in force at this element, its own or inherited. */
  readonly lang: string | undefined
}

/** Bounds of a document. */
export interface XmlLimits {
  readonly xmlDepth: number
  /** Elements and attributes together. */
  readonly xmlElements: number
}

const XML_NAMESPACE = 'http://www.w3.org/XML/1998/namespace'
const XMLNS_NAMESPACE = 'http://www.w3.org/2000/xmlns/'

interface OpenElement extends XmlElement {
  readonly children: (XmlElement | string)[]
}

/**
 * Builds a tree from XML that arrives in pieces. DOCTYPE declarations, and with them entities, are refused; so is what is
 * not well-formed or breaks the rules of namespaces.
 */
export class XmlReader {
  readonly #parser = new SaxesParser({ xmlns: true, position: false })
  readonly #limits: XmlLimits
  readonly #open: OpenElement[] = []
  #root: XmlElement | undefined
  #count = 0

  constructor(limits: XmlLimits) {
    this.#limits = limits
    this.#parser.on('doctype', refuseDoctype)
    this.#parser.on('xmldecl', (declaration) => checkEncoding(declaration.encoding))
    this.#parser.on('attribute', () => this.#tally())
    this.#parser.on('opentagstart', () => {
      this.#tally()
      if (this.#open.length >= limits.xmlDepth) throw badRequest('the body is nested too deeply')
    })
    this.#parser.on('opentag', (tag) => this.#opened(tag))
    this.#parser.on('closetag', () => this.#closed())
    const text = (piece: string) => {
      this.#open.at(-1)?.children.push(piece)
    }
    this.#parser.on('text', text)
    this.#parser.on('cdata', text)
  }

  /** Takes the next piece. @throws DavError 400 */
  write(piece: string): void {
    try {
      this.#parser.write(piece)
    } catch (error) {
      throw error instanceof DavError ? error : badRequest(`the body is not well-formed XML: ${describe(error)}`)
    }
  }

  /** Ends the document. @returns its root element @throws DavError 400 */
  finish(): XmlElement {
    try {
      this.#parser.close()
    } catch (error) {
      throw badRequest(`the body is not well-formed XML: ${describe(error)}`)
    }
    if (this.#root === undefined) throw badRequest('the body contains no element')
    return this.#root
  }

  #tally(): void {
    this.#count++
    if (this.#count > this.#limits.xmlElements) throw badRequest('the body has too many elements')
  }

  #opened(tag: SaxesTagNS): void {
    const attributes = Object.values(tag.attributes).filter(isPlainAttribute)
    const own = attributes.find((attribute) => attribute.uri === XML_NAMESPACE && attribute.local === 'lang')
    const parent = this.#open.at(-1)
    const element: OpenElement = {
      prefix: tag.prefix,
      local: tag.local,
      uri: tag.uri,
      attributes: attributes.map(({ prefix, local, uri, value }) => ({ prefix, local, uri, value })),
      children: [],
      lang: own?.value ?? parent?.lang,
    }
    if (parent === undefined) this.#root = element
    else parent.children.push(element)
    this.#open.push(element)
  }

  #closed(): void {
    this.#open.pop()
  }
}

/** @throws DavError 403 it names an external entity (RFC 4918 section 16) · 400 */
function refuseDoctype(declaration: string): never {
  if (!/\b(?:SYSTEM|PUBLIC)\b/.test(declaration)) throw badRequest('the body contains a DOCTYPE')
  throw new DavError(403, 'the body references an external entity', { condition: '<D:no-external-entities/>' })
}

function isPlainAttribute(attribute: SaxesAttributeNS): boolean {
  return attribute.uri !== XMLNS_NAMESPACE
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function checkEncoding(encoding: string | undefined): void {
  if (encoding !== undefined && !/^(?:utf-?8|us-ascii|utf-?16(?:le|be)?)$/i.test(encoding)) {
    throw badRequest('the body is neither UTF-8 nor UTF-16')
  }
}

/** Parses a whole document. @throws DavError 400 */
export function parseXml(text: string, limits: XmlLimits): XmlElement {
  const reader = new XmlReader(limits)
  reader.write(text)
  return reader.finish()
}

/** The bytes of an XML body as text: UTF-8, or UTF-16 by its byte order mark. @throws DavError 400 */
export function decodeXml(bytes: Uint8Array): string {
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes)
  } catch {
    throw badRequest('the body is not validly encoded')
  }
}

function encodingOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  return 'utf-8'
}

/** The child elements of `element`. */
export function childElements(element: XmlElement): XmlElement[] {
  return element.children.filter((child) => typeof child !== 'string')
}

/** Whether the text and the attributes of `element` alone, all below it included, have more than so many characters: found out without writing it. */
export function hasMoreTextThan(element: XmlElement, characters: number): boolean {
  let left = characters
  const waiting = [element]
  for (let next = waiting.pop(); next !== undefined && left >= 0; next = waiting.pop()) {
    for (const { value } of next.attributes) left -= value.length
    for (const child of next.children) {
      if (typeof child === 'string') left -= child.length
      else waiting.push(child)
    }
  }
  return left < 0
}

/** The text of `element` and of all below it. */
export function textOf(element: XmlElement): string {
  return element.children.map((child) => (typeof child === 'string' ? child : textOf(child))).join('')
}
