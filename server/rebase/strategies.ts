import type { ConflictRule } from '../../config/index.ts'
import type { Strategy, StrategyOf } from '../../overlay-core/index.ts'

/** Chooses the strategy of each path by the rules of a template: the first that matches counts, and without one what the user has stays. */
export function strategiesOf(rules: readonly ConflictRule[]): StrategyOf {
  const compiled = rules.map(({ strategy, pattern }) => ({ strategy, matches: matcherOf(pattern) }))
  return (path): Strategy => {
    if (compiled.length === 0) return 'mine'
    const text = path.join('/')
    return compiled.find(({ matches }) => matches(text))?.strategy ?? 'mine'
  }
}

/** Whether a path, as names in latin1 with slashes between them, matches a pattern. */
function matcherOf(pattern: string | undefined): (path: string) => boolean {
  if (pattern === undefined) return () => true
  const bytes = Buffer.from(pattern.replace(/\/+$/, ''), 'utf8').toString('latin1')
  const anchored = bytes.startsWith('/')
  const expression = (anchored ? bytes.slice(1) : bytes).replaceAll(/\*\*|[*?]|[^*?]+/g, (part) => {
    if (part === '**') return '.*'
    if (part === '*') return '[^/]*'
    return part === '?' ? '[^/]' : part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  })
  // What is in a directory that matches, matches as well.
  const matches = new RegExp(`^${anchored ? '' : '(?:.*/)?'}${expression}(?:/.*)?$`, 's')
  return (path) => matches.test(path)
}
