import t from 'tap'
import { parseEntityTags } from '../../../../protocols/webdav/http/etag.ts'
import {
  parseDepth,
  parseLockToken,
  parseOcMtime,
  parseOverwrite,
  parseTimeout,
} from '../../../../protocols/webdav/http/headers.ts'
import { httpDate, isoDate, parseHttpDate } from '../../../../protocols/webdav/http/http-date.ts'
import { evaluatePreconditions, ifRangeHolds } from '../../../../protocols/webdav/http/preconditions.ts'
import { refusal } from '../refusal.ts'

t.test('Depth, Overwrite and Lock-Token are read without regard to case, and else refused', async (t) => {
  t.same(
    ['0', '1', 'Infinity', undefined].map((field) => parseDepth(field, 1)),
    [0, 1, 'infinity', 1],
  )
  for (const field of ['2', '', 'infinite', '-1'])
    t.equal(
      refusal(() => parseDepth(field, 0)),
      400,
    )
  t.same(
    ['T', 't', 'F', undefined].map((field) => parseOverwrite(field)),
    [true, true, false, true],
  )
  t.equal(
    refusal(() => parseOverwrite('yes')),
    400,
  )
  for (const field of [' <urn:a> ', 'urn:a', ' urn:a']) t.equal(parseLockToken(field), 'urn:a')
  for (const field of [undefined, 'urn:a urn:b', '<urn:a', '<>', '<a> <b>'])
    t.equal(
      refusal(() => parseLockToken(field)),
      400,
    )
})

t.test('a timeout stays within 1 and the maximum', async (t) => {
  t.equal(parseTimeout('Second-10', 100), 10)
  t.equal(parseTimeout('Second-4100000000', 100), 100)
  t.equal(parseTimeout('Second-0', 100), 1)
  t.equal(parseTimeout('Infinite, Second-5', 100), 100)
  t.equal(parseTimeout('Extend 5, Second-5', 100), 5)
  t.equal(parseTimeout('Second-99999999999999', 100), 100)
  t.equal(parseTimeout(undefined, 100), 100)
})

t.test('X-OC-Mtime is seconds, maybe with a fraction', async (t) => {
  t.same(parseOcMtime('1700000000'), { sec: 1_700_000_000, nsec: 0 })
  t.same(parseOcMtime('1700000000.25'), { sec: 1_700_000_000, nsec: 250_000_000 })
  t.same(parseOcMtime('-1.25'), { sec: -2, nsec: 750_000_000 })
  t.same(parseOcMtime('1.1234567899'), { sec: 1, nsec: 123_456_789 })
  t.equal(parseOcMtime(undefined), undefined)
  for (const field of ['', 'now', '1e9', '99999999999999'])
    t.equal(
      refusal(() => parseOcMtime(field)),
      400,
    )
})

t.test('dates are written in GMT and read in all three forms', async (t) => {
  t.equal(httpDate(784_111_777), 'Sun, 06 Nov 1994 08:49:37 GMT')
  for (const text of ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994']) {
    t.equal(parseHttpDate(text), 784_111_777, text)
  }
  for (const text of ['', '0', 'tomorrow', '1994-11-06', 'Sun, 99 Nov 1994 08:49:37 GMT']) {
    t.equal(parseHttpDate(text), undefined, text)
  }
  t.equal(isoDate({ sec: 784_111_777, nsec: 5 }), '1994-11-06T08:49:37Z')
  t.equal(httpDate(-1e15), 'Mon, 01 Jan 0001 00:00:00 GMT')
  t.equal(httpDate(1e15), 'Fri, 31 Dec 9999 23:59:59 GMT')
})

t.test('entity tags are read as a list, a star, or not at all', async (t) => {
  t.equal(parseEntityTags(' * '), '*')
  t.same(parseEntityTags('"a", W/"b,c" ,"d"'), [
    { weak: false, value: '"a"' },
    { weak: true, value: '"b,c"' },
    { weak: false, value: '"d"' },
  ])
  for (const field of ['', 'a', '"a', '"a" b', '"a""b"']) t.equal(parseEntityTags(field), undefined, field)
})

const file = { exists: true, etag: '"e"', mtimeSec: 784_111_777 }
const gone = { exists: false, etag: undefined, mtimeSec: undefined }
const SAME = 'Sun, 06 Nov 1994 08:49:37 GMT'
const BEFORE = 'Sun, 06 Nov 1994 08:49:36 GMT'

t.test('preconditions follow the order of RFC 9110', async (t) => {
  const reading = (headers: Record<string, string>, state = file) => evaluatePreconditions(headers, state, true)
  const writing = (headers: Record<string, string>, state: typeof file | typeof gone = file) =>
    evaluatePreconditions(headers, state, false)
  t.equal(reading({ 'if-match': '"x"' }), 412)
  t.equal(reading({ 'if-match': 'W/"e"' }), 412, 'If-Match compares strongly')
  t.equal(reading({ 'if-match': '"e"', 'if-unmodified-since': BEFORE }), undefined, 'If-Match rules out the date')
  t.equal(reading({ 'if-unmodified-since': BEFORE }), 412)
  t.equal(reading({ 'if-unmodified-since': SAME }), undefined)
  t.equal(reading({ 'if-none-match': 'W/"e"' }), 304, 'If-None-Match compares weakly')
  t.equal(reading({ 'if-none-match': '"x"', 'if-modified-since': SAME }), undefined, 'If-None-Match rules out the date')
  t.equal(reading({ 'if-modified-since': SAME }), 304)
  t.equal(reading({ 'if-modified-since': BEFORE }), undefined)
  t.equal(reading({ 'if-modified-since': 'garbage' }), undefined)
  t.equal(writing({ 'if-none-match': '"e"' }), 412)
  t.equal(writing({ 'if-none-match': '*' }), 412)
  t.equal(writing({ 'if-none-match': '*' }, gone), undefined)
  t.equal(writing({ 'if-match': '*' }, gone), 412)
  t.equal(writing({ 'if-match': '*' }), undefined)
  t.equal(writing({ 'if-match': 'garbage' }), 412)
  t.equal(writing({ 'if-modified-since': SAME }), undefined, 'a date for readers says nothing to writers')
})

t.test('If-Range needs a strong validator', async (t) => {
  const now = 784_111_777 + 3600
  t.ok(ifRangeHolds(undefined, '"e"', 0, now))
  t.ok(ifRangeHolds('"e"', '"e"', 0, now))
  t.notOk(ifRangeHolds('W/"e"', '"e"', 0, now))
  t.notOk(ifRangeHolds('*', '"e"', 0, now))
  t.ok(ifRangeHolds(SAME, '"e"', 784_111_777, now))
  t.notOk(ifRangeHolds(SAME, '"e"', 784_111_777, 784_111_778), 'too young to be sure')
  t.notOk(ifRangeHolds(BEFORE, '"e"', 784_111_777, now))
})
