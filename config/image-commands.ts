import { OptionError } from '../overlay-core/index.ts'
import { cutArguments } from './arguments.ts'
import { absolute, type Environment } from './environment.ts'
import { helpOn } from './help.ts'
import { IMAGE_OPTIONS, MIRROR } from './manual-images.ts'
import type { Command } from './settings.ts'

/** What `overlayd image` is told. Paths are absolute. */
export type ImageRequest =
  | { readonly verb: 'lint'; readonly directory: string; readonly fix: boolean; readonly json: boolean }
  | { readonly verb: 'build'; readonly directory: string; readonly from: ImageSource }

/** Where the content of a new image comes from. */
export type ImageSource =
  | {
      readonly kind: 'debootstrap'
      readonly suite: string
      readonly packages: readonly string[]
      readonly mirror: string
      /** Where downloaded packages are kept. */
      readonly cache: string | undefined
    }
  | { readonly kind: 'copy'; readonly path: string }

/** The packages that a Debian needs to boot over the network and let somebody log in. */
const USUAL_PACKAGES =
  'systemd-sysv,udev,dbus,login,linux-image-amd64,initramfs-tools,nfs-common,klibc-utils,iproute2,ifupdown,iputils-ping,openssh-server'

/** `overlayd image …`. @throws OptionError */
export function parseImage([word, ...argv]: readonly string[], environment: Environment): Command {
  if (word === '--help' || word === '-h') return { kind: 'help', text: helpOn('image') }
  if (word === undefined) throw new OptionError('image', 'needs a word more; say overlayd image build DIR, or lint DIR')
  if (word !== 'build' && word !== 'lint') throw OptionError.unknown(word, ['build', 'lint'], 'word after image')
  const { values, words } = cutArguments(argv, IMAGE_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('image') }
  const [name, ...more] = words
  if (name === undefined) throw new OptionError('image', `${word} needs a directory; say overlayd image ${word} DIR`)
  if (more.length > 0)
    throw new OptionError(`image ${word}`, `takes no further word, but got ${JSON.stringify(more[0])}`)
  const own = word === 'lint' ? ['--fix', '--json'] : ['--debootstrap', '--packages', '--mirror', '--cache', '--from']
  for (const option of values.keys())
    if (!own.includes(option)) throw new OptionError(option, `does not go with image ${word}; remove it`)
  const directory = absolute(name, environment)
  if (word === 'lint')
    return { kind: 'image', image: { verb: 'lint', directory, fix: values.has('--fix'), json: values.has('--json') } }
  return { kind: 'image', image: { verb: 'build', directory, from: sourceIn(values, environment) } }
}

function sourceIn(values: ReadonlyMap<string, readonly string[]>, environment: Environment): ImageSource {
  const last = (option: string) => values.get(option)?.at(-1)
  const [suite, path] = [last('--debootstrap'), last('--from')]
  if ((suite === undefined) === (path === undefined))
    throw new OptionError('--debootstrap', 'makes a Debian, and --from copies something; give one of them')
  if (path !== undefined) {
    for (const option of ['--packages', '--mirror', '--cache'])
      if (values.has(option)) throw new OptionError(option, 'goes with --debootstrap; remove it')
    return { kind: 'copy', path: absolute(path, environment) }
  }
  if (!/^[a-z][a-z0-9-]{0,40}$/.test(suite as string))
    throw new OptionError(
      '--debootstrap',
      `${JSON.stringify(suite)} is not the name of a suite; use for example bookworm`,
    )
  const packages = [USUAL_PACKAGES, ...(values.get('--packages') ?? [])]
    .join(',')
    .split(',')
    .filter((each) => each !== '')
  const wrong = packages.find((each) => !/^[a-z0-9][a-z0-9+.-]{1,80}$/.test(each))
  if (wrong !== undefined) throw new OptionError('--packages', `${JSON.stringify(wrong)} is not the name of a package`)
  const mirror = last('--mirror') ?? MIRROR
  if (!/^https?:$/.test(URL.parse(mirror)?.protocol ?? ''))
    throw new OptionError('--mirror', `${JSON.stringify(mirror)} is not a URL; use for example ${MIRROR}`)
  const cache = last('--cache')
  return {
    ...{ kind: 'debootstrap', suite: suite as string, packages: [...new Set(packages)], mirror },
    cache: cache && absolute(cache, environment),
  }
}
