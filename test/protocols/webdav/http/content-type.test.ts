import t from 'tap'
import { contentTypeOf, runsScripts } from '../../../../protocols/webdav/http/content-type.ts'

t.test('the extension tells the type; text is UTF-8; what is not known is a stream of bytes', async (t) => {
  const types: readonly [name: string, type: string][] = [
    ['page.html', 'text/html; charset=utf-8'],
    ['PHOTO.JPG', 'image/jpeg'],
    ['a.b.pdf', 'application/pdf'],
    ['data.json', 'application/json'],
    ['letter.docx', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
    ['app.webmanifest', 'application/manifest+json'],
    ['backup.tar.zst', 'application/zstd'],
    ['README', 'application/octet-stream'],
    ['.html', 'application/octet-stream'],
    ['end.', 'application/octet-stream'],
    ['x.no-such-type', 'application/octet-stream'],
    ['x.__proto__', 'application/octet-stream'],
    ['x.constructor', 'application/octet-stream'],
    [`x.${'l'.repeat(200)}`, 'application/octet-stream'],
  ]
  for (const [name, type] of types) t.equal(contentTypeOf(name), type, name)
})

t.test('sources of programs are plain text, whatever else their extension stands for', async (t) => {
  for (const name of ['main.ts', 'main.rs', 'main.c', 'run.sh', 'setup.py', 'Main.java', 'nginx.conf', 'build.log'])
    t.equal(contentTypeOf(name), 'text/plain; charset=utf-8', name)
})

t.test('every type in which a browser runs scripts is known as such', async (t) => {
  for (const name of [
    'a.html',
    'a.htm',
    'a.shtml',
    'a.xhtml',
    'a.xht',
    'a.svg',
    'a.svgz',
    'a.xml',
    'a.xsl',
    'a.rdf',
    'a.mml',
  ])
    t.ok(runsScripts(contentTypeOf(name)), name)
  for (const name of ['a.txt', 'a.png', 'a.pdf', 'a.js', 'a', 'a.md', 'a.rs'])
    t.notOk(runsScripts(contentTypeOf(name)), name)
})
