// Plots over time, as SVG.

const NAMESPACE = 'http://www.w3.org/2000/svg'
const WIDTH = 320
const HEIGHT = 110
const LEFT = 4
const BOTTOM = 18

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  element.append(...children)
  return element
}

/** The least round number from `value` on, so that the scale does not jump with every point. */
function roundUp(value) {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value)
}

/**
 * Draws one plot. `series`: `{ name, points: [[ms, value], …] }`, at most three; `textOf(value)` writes a value.
 */
export function plot(title, series, textOf) {
  const all = series.flatMap(({ points }) => points)
  const [first, last] = [Math.min(...all.map(([at]) => at)), Math.max(...all.map(([at]) => at))]
  const top = roundUp(Math.max(0, ...all.map(([, value]) => value)))
  const x = (at) => LEFT + ((at - first) / Math.max(1, last - first)) * (WIDTH - 2 * LEFT)
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 8)
  const lines = series.map(({ points }, at) =>
    svg('polyline', {
      class: `line s${at}`,
      points: points.map(([when, value]) => `${x(when).toFixed(1)},${y(value).toFixed(1)}`).join(' '),
    }),
  )
  const latest = series.map(({ name, points }) => `${name === '' ? '' : `${name} `}${textOf(points.at(-1)?.[1] ?? 0)}`)
  const minutes = Math.round((last - first) / 60_000)
  const picture = svg(
    'svg',
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: 'img',
      'aria-label': `${title}: now ${latest.join(', ')}, at most ${textOf(top)}`,
    },
    svg('line', { class: 'axis', x1: LEFT, x2: WIDTH - LEFT, y1: y(0), y2: y(0) }),
    svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - LEFT, y1: y(top), y2: y(top) }),
    svg('text', { class: 'scale', x: LEFT, y: y(top) - 2 + 11 }, textOf(top)),
    svg(
      'text',
      { class: 'scale', x: LEFT, y: HEIGHT - 4 },
      minutes < 2 ? `${Math.round((last - first) / 1000)} s ago` : `${minutes} min ago`,
    ),
    svg('text', { class: 'scale', x: WIDTH - LEFT, y: HEIGHT - 4, 'text-anchor': 'end' }, 'now'),
    ...lines,
  )
  const figure = document.createElement('figure')
  figure.className = 'plot'
  const caption = document.createElement('figcaption')
  const name = document.createElement('b')
  name.textContent = title
  caption.append(name)
  series.forEach((_each, at) => {
    const key = document.createElement('span')
    key.className = `key s${at}`
    key.textContent = latest[at]
    caption.append(key)
  })
  figure.append(caption, picture)
  return figure
}
