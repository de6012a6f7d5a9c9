// A picture of the layers of a view, topmost first.

const NAMESPACE = 'http://www.w3.org/2000/svg'
const WIDTH = 640
const ROW = 46
const MOST_ROWS = 40

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  element.append(...children)
  return element
}

const WORDS = { upper: 'upper: takes every change', frozen: 'frozen', lower: 'lower', data: 'data only' }

function shortPath(path) {
  return path.length <= 64 ? path : `…${path.slice(-63)}`
}

/** Draws layers: `{ kind, path, snapshots? }`. Long stacks are cut in the middle. */
export function stackPicture(layers) {
  const cut = layers.length > MOST_ROWS
  const shown = cut ? [...layers.slice(0, MOST_ROWS - 6), undefined, ...layers.slice(-5)] : layers
  const height = shown.length * ROW + 4
  const rows = shown.map((layer, at) => {
    const y = at * ROW + 2
    if (layer === undefined)
      return svg(
        'text',
        { x: WIDTH / 2, y: y + 26, class: 'more', 'text-anchor': 'middle' },
        `… ${layers.length - MOST_ROWS + 1} more layers …`,
      )
    const { kind, path, snapshots = [] } = layer
    const title = [WORDS[kind] ?? kind, ...snapshots.map((name) => `@${name}`)].join('  ')
    return svg(
      'g',
      { class: `layer ${kind}` },
      svg('title', {}, path),
      svg('rect', { x: 2, y, width: WIDTH - 4, height: ROW - 6, rx: 6 }),
      svg('text', { x: 14, y: y + 17, class: 'what' }, title),
      svg('text', { x: 14, y: y + 33, class: 'path' }, shortPath(path)),
    )
  })
  const label = `${layers.length} layers, topmost first: ${layers.map(({ kind, path }) => `${kind} ${path}`).join('; ')}`
  return svg('svg', { class: 'stack', viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': label }, ...rows)
}
