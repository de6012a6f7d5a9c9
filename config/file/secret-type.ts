import type { ValueType } from './value-types.ts'

/** A secret. `text` is what is shown instead of it. */
export interface Secret {
  readonly secret: string
  readonly text: string
}

/** A secret that comes from an environment variable. It is in no message and no output, whatever is wrong with it. */
export const SECRET: ValueType<Secret> = {
  shown: `"\${NAME}"`,
  wanted: 'a text with a variable',
  json: { type: 'string', pattern: '\\$\\{' },
  read(node, complain) {
    if (node.kind === 'scalar' && node.type === 'text' && node.variables.length > 0) {
      if (node.value !== '') return { secret: String(node.value), text: '(secret)' }
      complain(node, 'is empty; set the environment variable')
    } else
      complain(
        node,
        `must not be in this file; write it into a file of its own, or into an environment variable as "\${NAME}"`,
      )
    return undefined
  },
}
