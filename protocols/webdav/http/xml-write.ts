import type { XmlAttribute, XmlElement } from './xml.ts'

const XML_NAMESPACE = 'http://www.w3.org/XML/1998/namespace'
/** Characters with a meaning in XML, and characters that XML forbids: control characters except tab, line feed and carriage return; U+FFFE; U+FFFF. */
const TEXT_SPECIAL = /[&<>\r\ufffe\uffff]|[^\P{Cc}\t\n\r\x7f-\x9f]/u
const ATTRIBUTE_SPECIAL = /[&<>"\t\n\r\ufffe\uffff]|[^\P{Cc}\t\n\r\x7f-\x9f]/u
const TEXT_SPECIAL_ALL = new RegExp(TEXT_SPECIAL.source, 'gu')
const ATTRIBUTE_SPECIAL_ALL = new RegExp(ATTRIBUTE_SPECIAL.source, 'gu')

const REFERENCES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
}

/** Escapes text as XML character data; characters that XML 1.0 forbids become U+FFFD. */
export function escapeText(text: string): string {
  return TEXT_SPECIAL.test(text) ? text.replace(TEXT_SPECIAL_ALL, reference) : text
}

/** Escapes text for a double-quoted XML attribute. */
export function escapeAttribute(text: string): string {
  return ATTRIBUTE_SPECIAL.test(text) ? text.replace(ATTRIBUTE_SPECIAL_ALL, reference) : text
}

function reference(char: string): string {
  return REFERENCES[char] ?? '\ufffd'
}

const NOT_ASCII = /\P{ASCII}/u

/** The UTF-8 of `text` with one character for each byte. */
export function utf8AsText(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text
}

/** Namespaces in scope during serialization: prefix to URI. */
type Scope = ReadonlyMap<string, string>
const EMPTY_SCOPE: Scope = new Map([
  ['', ''],
  ['xml', XML_NAMESPACE],
])

/**
 * Serializes an element as self-contained XML: it declares every namespace that it uses, with the client's prefix, and
 * has its inherited `xml:lang`, so that it can be inserted anywhere (RFC 4918 section 4.3).
 */
export function serializeElement(element: XmlElement): string {
  const own = element.attributes.some((attribute) => attribute.uri === XML_NAMESPACE && attribute.local === 'lang')
  if (own || element.lang === undefined) return writeElement(element, EMPTY_SCOPE)
  const lang: XmlAttribute = { prefix: 'xml', local: 'lang', uri: XML_NAMESPACE, value: element.lang }
  return writeElement({ ...element, attributes: [...element.attributes, lang] }, EMPTY_SCOPE)
}

/** Serializes the content of an element as self-contained XML. */
export function serializeContent(element: XmlElement): string {
  return element.children.map((child) => writeChild(child, EMPTY_SCOPE)).join('')
}

function writeChild(child: XmlElement | string, scope: Scope): string {
  return typeof child === 'string' ? escapeText(child) : writeElement(child, scope)
}

function writeElement(element: XmlElement, outer: Scope): string {
  const scope = new Map(outer)
  let declarations = ''
  const declare = (prefix: string, uri: string) => {
    if (scope.get(prefix) === uri) return
    scope.set(prefix, uri)
    declarations += ` ${prefix === '' ? 'xmlns' : `xmlns:${prefix}`}="${escapeAttribute(uri)}"`
  }
  declare(element.prefix, element.uri)
  let attributes = ''
  for (const { prefix, local, uri, value } of element.attributes) {
    // An attribute without a prefix is in no namespace, whatever the default one is.
    if (prefix !== '') declare(prefix, uri)
    attributes += ` ${qualified(prefix, local)}="${escapeAttribute(value)}"`
  }
  const tag = qualified(element.prefix, element.local)
  const content = element.children.map((child) => writeChild(child, scope)).join('')
  return content === ''
    ? `<${tag}${declarations}${attributes}/>`
    : `<${tag}${declarations}${attributes}>${content}</${tag}>`
}

function qualified(prefix: string, local: string): string {
  return prefix === '' ? local : `${prefix}:${local}`
}

/** An empty element of any namespace that stands on its own; `DAV:` uses the prefix `D`, declared by the document. */
export function emptyElement(uri: string, local: string): string {
  if (uri === 'DAV:') return `<D:${local}/>`
  return uri === '' ? `<${local} xmlns=""/>` : `<x:${local} xmlns:x="${escapeAttribute(uri)}"/>`
}
