import t from 'tap'
import { viewNameError } from '../../../server/registry/view-name.ts'

t.test('names of users are accepted', async (t) => {
  const names = [
    'alice',
    'a',
    '1000',
    'a.b',
    'a-b_c',
    'alice@example.org',
    'DOMAIN+alice',
    '\u00fc\u00df',
    'jos\u00e9',
    '\u738b',
    'x'.repeat(255),
  ]
  for (const name of names) t.equal(viewNameError(name), undefined, name)
})

t.test('what no user can be called, or what could be taken for another name, is refused with the mend', async (t) => {
  const names = [
    ...['', '.', '..', '...', '/', 'a/b', '../x', 'a\\b', '-rf', '~a', ' a', 'a '],
    ...['a\0', 'a\u202e\u202e', 'a\n', 'a\u007f', 'a\u0085', 'a\u200b', 'a\u202eb', 'a\u2028', 'a\ud800', 'a\ufffd'],
    ...['jose\u0301', 'x'.repeat(256), '\u00e9'.repeat(128), 'x'.repeat(300)],
  ]
  for (const name of names) {
    const error = viewNameError(name)
    t.match(error, /; \S/, escape(name.slice(0, 20)))
    t.notMatch(error, /[\p{Cc}\u2028\u202e]/u, 'the message is one plain line')
  }
})
