import type { Problems } from './problems.ts'
import type { Node, TableNode } from './toml.ts'

/** The environment variables of the process, by name. */
export type Variables = Readonly<Record<string, string | undefined>>

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/**
 * Replaces `${VAR}` and `${VAR:-default}` in all texts of a tree, as a shell does: the default applies if the variable is unset or
 * empty. `$${` becomes `${`. Keys are not changed. Unset variables go to `problems`.
 */
export function substituteIn(root: TableNode, variables: Variables, problems: Problems): TableNode {
  const each = (node: Node): Node => {
    if (node.kind === 'table') return inTable(node)
    if (node.kind === 'list') return { ...node, items: node.items.map(each) }
    if (node.type !== 'text' || !String(node.value).includes('${')) return node
    let broken = false
    const { text, used } = substitute(String(node.value), variables, (message) => {
      broken = true
      problems.add(node.at, message)
    })
    return { ...node, value: text, variables: used, broken }
  }
  const inTable = (table: TableNode): TableNode => {
    const entries = [...table.entries].map(([name, { at, node }]) => [name, { at, node: each(node) }] as const)
    return { ...table, entries: new Map(entries) }
  }
  return inTable(root)
}

function substitute(
  text: string,
  variables: Variables,
  complain: (message: string) => void,
): { text: string; used: string[] } {
  const used: string[] = []
  const replaced = text.replace(/\$?\$\{([^}]*)(\}?)/g, (whole, inside: string, end: string) => {
    if (whole.startsWith('$$')) return whole.slice(1)
    const [, name = '', fallback] = /^([^:]*)(?::-(.*))?$/s.exec(inside) ?? []
    if (end === '' || !NAME.test(name)) {
      complain(
        `${JSON.stringify(whole)} is not a variable; write \${NAME} or \${NAME:-default}, or $\${ for a plain \${`,
      )
      return ''
    }
    used.push(name)
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    if (value === undefined) {
      complain(`the environment variable ${name} is not set; set it, or write \${${name}:-default}`)
    }
    return value ?? ''
  })
  return { text: replaced, used }
}
