import { OptionError, parseOptions } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { FSCK_OPTIONS } from './fsck-options.ts'
import { helpOn } from './help.ts'
import { shortAbsolute } from './server-choice.ts'
import type { Command, ConfigRequest } from './settings.ts'

/** What `overlayd fsck` is told. */
export interface FsckRequest {
  /** A directory, absolute; or `TEMPLATE/NAME` or a template, with `config`. */
  readonly target: string
  readonly path: string
  readonly config: ConfigRequest | undefined
  /** Topmost first, absolute. */
  readonly lowers: readonly string[]
  readonly workdir: string | undefined
  readonly userxattr: boolean
  readonly yes: boolean
  readonly json: boolean
}

/** Parses `overlayd fsck …`. @throws OptionError */
export function parseFsck(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, FSCK_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('fsck') }
  const [target, more] = words
  if (target === undefined) throw new OptionError('fsck', 'needs a view or a directory; say overlayd fsck DIRECTORY')
  if (more !== undefined) throw new OptionError('fsck', `takes no further word, but got ${JSON.stringify(more)}`)
  const last = (name: string) => values.get(name)?.at(-1)
  const [config, lowerdir, workdir] = [last('--config'), last('--lowerdir'), last('--workdir')]
  if (config !== undefined && (lowerdir ?? workdir) !== undefined)
    throw new OptionError('--config', 'says where the layers are; remove --lowerdir and --workdir')
  const path = (name: string) => shortAbsolute(name, environment)
  return {
    kind: 'fsck',
    fsck: {
      ...{ target, path: path(target), workdir: workdir && path(workdir) },
      lowers: lowerdir === undefined ? [] : parseOptions(`lowerdir=${lowerdir}`).lowerdir.map(path),
      config:
        config === undefined ? undefined : { name: config, path: path(config), overrides: new Map(), environment },
      userxattr: values.has('--userxattr'),
      yes: values.has('--yes'),
      json: values.has('--json'),
    },
  }
}
