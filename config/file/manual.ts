import { type Block, code, type Section, text } from '../manual-blocks.ts'
import { type Keys, type Table, wordOf } from './key.ts'
import { headerOf } from './read-tables.ts'
import { TABLES } from './tables.ts'

/** A variable in the syntax of the file. */
function variable(inside: string): string {
  return `\`\${${inside}}\``
}

function options(keys: Keys): Block {
  return { kind: 'options', options: Object.entries(keys).map(([name, key]) => wordOf(name, key)), joint: ' = ' }
}

/** The section about a table and its keys. */
function section(table: Table): Section {
  return {
    title: table.name.toUpperCase(),
    blocks: [
      code(headerOf(table)),
      text(table.meaning),
      options(table.keys),
      ...(table.own === undefined ? [] : [code(`[${table.name}]`), options(table.own)]),
    ],
  }
}

const DESCRIPTION: Section = {
  title: 'DESCRIPTION',
  blocks: [
    text(
      '`overlayd serve --config FILE` serves the views of this file. The file is TOML (toml.io) in UTF-8, up to 1 MiB. `overlayd config check FILE` reports all its errors, and `overlayd config print --config FILE` prints the settings in force.',
      'Unknown keys are errors. Editors that support JSON Schema can complete and check the file with `deploy/overlayd.schema.json`.',
    ),
    text(
      'A *layer* is a named directory tree that is only read. A *stack* is an ordered list of layers. A *view* is a stack and an upper, which takes the changes; its table is the *template* for views. An *export* says which clients reach a view, by which door (protocol), and as which user.',
    ),
    text(
      `Paths are relative to the directory of the file. ${variable('NAME')} in a text is replaced by the environment variable *NAME*, which must be set; ${variable('NAME:-TEXT')} is replaced by *TEXT* if *NAME* is unset or empty. A second dollar sign, as in \`$\${NAME}\`, prevents the replacement. A number or boolean may be written as a text with a variable: \`lock_grace = "\${GRACE:-45}"\`.`,
    ),
  ],
}

const EXAMPLE: Section = {
  title: 'EXAMPLE',
  blocks: [
    text('Serve a course that everybody edits together, over WebDAV on this machine and over NFS to one network:'),
    code(
      '[layers.material]',
      'path = "/srv/courses/2026"',
      '',
      '[stacks.course]',
      'layers = ["material"]',
      '',
      '[views.course]',
      'stack = "course"',
      'upper = "shared"',
      'directory = "/srv/views/course"',
      '',
      '[exports.here]',
      'view = "course"',
      'door = "webdav"',
      'as = "1000:1000"',
      '',
      '[exports.lab]',
      'view = "course"',
      'door = "nfs"',
      'clients = ["192.168.1.0/24(rw)"]',
      '',
      '[nfs]',
      'listen = "0.0.0.0:2049"',
    ),
  ],
}

/** The manual of the configuration file: the source of docs/config.md and overlayd.toml(5). */
export const FILE_MANUAL: readonly Section[] = [
  { title: 'NAME', blocks: [text('overlayd.toml - configuration file of overlayd')] },
  DESCRIPTION,
  ...TABLES.map(section),
  EXAMPLE,
  { title: 'SEE ALSO', blocks: [text('[overlayd(1)](cli.md), exports(5)')] },
]
