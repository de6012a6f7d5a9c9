import t from 'tap'
import { childElements, decodeXml, parseXml, textOf } from '../../../../protocols/webdav/http/xml.ts'
import {
  emptyElement,
  escapeAttribute,
  escapeText,
  serializeContent,
  serializeElement,
} from '../../../../protocols/webdav/http/xml-write.ts'
import { parseBody } from '../../../../protocols/webdav/request/body.ts'
import { refusal } from '../refusal.ts'

const LIMITS = { xmlDepth: 32, xmlElements: 1000 }
const parse = (text: string) => parseXml(text, LIMITS)

t.test('names come with their namespaces', async (t) => {
  const root = parse('<D:a xmlns:D="DAV:" xmlns="urn:x"><b D:c="1" d="2">t<![CDATA[<e>]]></b></D:a>')
  t.match(root, { uri: 'DAV:', local: 'a', prefix: 'D' })
  const [b] = childElements(root)
  t.match(b, { uri: 'urn:x', local: 'b', prefix: '' })
  t.match(b?.attributes, [
    { uri: 'DAV:', local: 'c', value: '1' },
    { uri: '', local: 'd', value: '2' },
  ])
  t.equal(textOf(root), 't<e>')
})

const bad: Record<string, string> = {
  'nothing at all': '   ',
  'no XML': 'hello',
  'an open element': '<a><b></a>',
  'two roots': '<a/><b/>',
  'an undeclared prefix': '<D:a/>',
  'an emptied prefix': '<D:a xmlns:D=""/>',
  'a DOCTYPE': '<!DOCTYPE a><a/>',
  'an internal entity': '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
  'billions of laughs': '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>',
  'an unknown entity': '<a>&nope;</a>',
  'too many levels': '<a>'.repeat(33) + '</a>'.repeat(33),
  'too many elements': `<a>${'<b/>'.repeat(1000)}</a>`,
  'too many attributes': `<a ${Array.from({ length: 1001 }, (_, i) => `b${i}="x"`).join(' ')}/>`,
  'an attribute twice': '<a b="1" b="2"/>',
  'another encoding': '<?xml version="1.0" encoding="koi8-r"?><a/>',
  'a control character': '<a>\u0001</a>',
}
for (const [what, text] of Object.entries(bad)) {
  t.test(`${what} is refused with 400`, async (t) => {
    t.equal(
      refusal(() => parse(text)),
      400,
    )
  })
}

t.test('an external entity is refused with 403', async (t) => {
  t.equal(
    refusal(() => parse('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>')),
    403,
  )
})

t.test('a deep nest is refused at once, however long it goes on', async (t) => {
  const started = performance.now()
  t.equal(
    refusal(() => parse('<a>'.repeat(300_000))),
    400,
  )
  t.ok(performance.now() - started < 10_000)
})

t.test('bodies are UTF-8 or UTF-16', async (t) => {
  const text = '<a>Käse 🧀</a>'
  t.equal(decodeXml(Buffer.from(text)), text)
  t.equal(decodeXml(Buffer.from(`\ufeff${text}`)), text)
  t.equal(decodeXml(Buffer.from(`\ufeff${text}`, 'utf16le')), text)
  t.equal(decodeXml(Buffer.from(`\ufeff${text}`, 'utf16le').swap16()), text)
  t.equal(
    refusal(() => decodeXml(Buffer.from([0x3c, 0xff, 0x3e]))),
    400,
  )
})

t.test('a large body is parsed in slices with the same result', async (t) => {
  const text = `<a>${'Käse 🧀'.repeat(30_000)}</a>`
  const root = await parseBody(Buffer.from(text), LIMITS)
  t.equal(root && textOf(root), 'Käse 🧀'.repeat(30_000))
  t.equal(await parseBody(Buffer.alloc(0), LIMITS), undefined)
})

t.test('an element stands on its own when written again: namespaces, prefixes, language, mixed content', async (t) => {
  const root = parse(
    '<D:prop xmlns:D="DAV:" xmlns:x="urn:x" xml:lang="de"><x:p a="&lt;&quot;1" x:b="2">A &amp; B<x:q xmlns=""><r/></x:q> C</x:p></D:prop>',
  )
  const [p] = childElements(root)
  const written = serializeElement(p as NonNullable<typeof p>)
  t.equal(written, '<x:p xmlns:x="urn:x" a="&lt;&quot;1" x:b="2" xml:lang="de">A &amp; B<x:q><r/></x:q> C</x:p>')
  const again = parse(`<D:z xmlns:D="DAV:" xmlns="urn:other">${written.replace('<r/>', '<r xmlns=""/>')}</D:z>`)
  t.equal(textOf(again), 'A & B C')
})

t.test('a default namespace inside is declared where it starts', async (t) => {
  const root = parse('<p xmlns="urn:a"><q xmlns="urn:b"><r xmlns=""/></q></p>')
  t.equal(serializeElement(root), '<p xmlns="urn:a"><q xmlns="urn:b"><r xmlns=""/></q></p>')
  t.equal(serializeContent(root), '<q xmlns="urn:b"><r xmlns=""/></q>')
})

t.test('what XML gives a meaning is escaped, what it forbids is replaced', async (t) => {
  t.equal(escapeText('a<b>&c\r\u0000\u001b\uffff🧀'), 'a&lt;b&gt;&amp;c&#13;\ufffd\ufffd\ufffd🧀')
  t.equal(escapeAttribute('"\t\n\''), "&quot;&#9;&#10;'")
  t.equal(emptyElement('urn:"<&', 'a'), '<x:a xmlns:x="urn:&quot;&lt;&amp;"/>')
  t.equal(emptyElement('DAV:', 'a'), '<D:a/>')
  t.equal(emptyElement('', 'a'), '<a xmlns=""/>')
})
