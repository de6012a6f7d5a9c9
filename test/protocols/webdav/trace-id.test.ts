import t from 'tap'
import { traceIdOf } from '../../../protocols/webdav/http/trace-id.ts'

const ID = '4bf92f3577b34da6a3ce929d0e0e4736'

t.test('the id of a valid traceparent is taken', async (t) => {
  t.equal(traceIdOf(`00-${ID}-00f067aa0ba902b7-01`), ID)
  t.equal(traceIdOf(`cc-${ID}-00f067aa0ba902b7-01-what-the-future-brings`), ID)
})

t.test('an invalid traceparent is ignored', async (t) => {
  const wrong = [
    undefined,
    '',
    [`00-${ID}-00f067aa0ba902b7-01`],
    `00-${ID}-00f067aa0ba902b7-01-more`,
    `ff-${ID}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `00-${ID}-0000000000000000-01`,
    `00-${ID.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${ID}-00f067aa0ba902b7`,
    `01-${ID}-00f067aa0ba902b7-01-${'x'.repeat(1000)}`,
  ]
  for (const each of wrong) t.equal(traceIdOf(each), undefined, String(each).slice(0, 80))
})
