import type { LayerWork } from '../../../config/index.ts'
import { OptionError } from '../../../overlay-core/index.ts'
import type { Committed } from '../../layers/commit.ts'
import type { Exported } from '../../layers/export.ts'
import type { LayerDescription, Removed } from '../../layers/layer-requests.ts'
import type { LayerAnswer } from '../../layers/layer-work.ts'
import type { LayerProgress } from '../../layers/make-version.ts'
import { count, flag, listOf, objectOf, oneOf, text, time } from '../api/schema.ts'
import { type VerbContext, verb } from '../api/verb.ts'

/** The order of a verb: the work without its name, and without what only the command asks. */
type OrderOf<Verb extends LayerWork['verb']> = Omit<WorkOf<Verb>, 'verb' | 'yes'>

type WorkOf<Verb, Work = LayerWork> = Work extends { readonly verb: infer Known }
  ? Verb extends Known
    ? Work
    : never
  : never

const VERSION = objectOf<LayerDescription>(
  {
    layer: text('The name of the layer.'),
    version: text('The name of the version.'),
    serial: count('Its number among the versions of the layer; the newest has the largest.'),
    digest: text('`sha256:` and the digest of its uncompressed tar file.'),
    created: time('When it was made.'),
    from: text('Where its content came from.'),
    on: text('The version to which its content was added.'),
    bytes: count('The sizes of its files together.'),
    objects: count('How many objects it has.'),
    path: text('The directory of its content.'),
    usedBy: {
      type: 'array',
      items: { type: 'string' },
      description: 'The views on it, and templates whose new views will be.',
    },
  },
  'on',
)
const VERSIONS = listOf(VERSION)
const REMOVED = objectOf<Removed>({
  digests: { type: 'array', items: { type: 'string' }, description: 'The digests of contents that no version has.' },
  leftovers: count('How many leftovers of interrupted work there were.'),
})
const COMMIT = objectOf<Committed>(
  {
    version: objectOf<NonNullable<Committed['version']>>({
      layer: text('The name of the layer.'),
      version: text('The name of the version.'),
      digest: text('`sha256:` and the digest of its uncompressed tar file.'),
      path: text('The directory of its content.'),
    }).schema,
    on: text('The version to whose content the changes were added; absent: it has the changes alone.'),
    changes: listOf(
      objectOf<Committed['changes'][number]>({
        path: text('A path; after a dry run all, else none.'),
        removed: flag('Whether the version hides what is below it there.'),
      }),
    ).schema,
  },
  ...(['version', 'on'] as const),
)
const EXPORTED = objectOf<Exported>({
  to: text('The file or directory.'),
  format: oneOf('The form.', 'oci-layer', 'oci-archive', 'tar', 'overlay-dir'),
  digest: text('`sha256:` and the digest of the file, or of the tar file of the directory.'),
  bytes: count('Its size.'),
})
const LAYER = text('`NAME`, or `NAME@VERSION`.')
const MADE = {
  layer: text('The name of the layer.'),
  from: text('A directory, a tar file, or an OCI image, on the machine of the server.'),
  version: text('The name of the version.'),
  whiteoutFiles: flag('Whether files `.wh.NAME` are whiteouts.'),
}
const COMMITTED = {
  view: text('The view: `TEMPLATE/NAME`.'),
  to: text('`LAYER` or `LAYER:VERSION`.'),
  paths: { type: 'array', items: { type: 'string' }, description: 'Only what is there or below.' },
  dryRun: flag('Changes nothing.'),
} as const

/** Has the work done. What it comes to depends on the verb. */
async function work<Answer extends LayerAnswer>(context: VerbContext, order: LayerWork): Promise<Answer> {
  const { server, signal, progress } = context
  if ('from' in order || 'what' in order) refuseFromElsewhere(context)
  const { doLayerWork } = await import('../../layers/layer-work.ts')
  const watch = { signal, progress: ({ step, done }: LayerProgress) => progress({ text: step, done }) }
  return (await doLayerWork(server, order, watch)) as Answer
}

/** The server reads and writes its paths as its own user, so only who is on its machine may name them. @throws OptionError naming `from` */
function refuseFromElsewhere({ by }: VerbContext): void {
  if (by.address === undefined) return
  throw new OptionError('from', 'paths of the server can be named only on its own machine; use overlayd there')
}

/** Versions of layers: made, listed, removed, and made of views. */
export const LAYER_VERBS = [
  verb({
    name: 'layer add',
    summary: 'Makes a layer with a first version.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'add'>>(MADE, ...(['version', 'whiteoutFiles'] as const)),
    result: VERSIONS,
    run: (context, order) => work(context, { ...order, verb: 'add' }),
  }),
  verb({
    name: 'layer publish',
    summary: 'Makes a new version of a layer.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'publish'>>(MADE, ...(['version', 'whiteoutFiles'] as const)),
    result: VERSIONS,
    run: (context, order) => work(context, { ...order, verb: 'publish' }),
  }),
  verb({
    name: 'layer import',
    summary: 'Makes a version of a layer of what was exported.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'import'>>(MADE, ...(['version', 'whiteoutFiles'] as const)),
    result: VERSIONS,
    run: (context, order) => work(context, { ...order, verb: 'import' }),
  }),
  verb({
    name: 'layer list',
    summary: 'The layers and their versions.',
    changes: false,
    answer: 'result',
    order: objectOf<OrderOf<'list'>>({ layer: text('Only this layer.') }, 'layer'),
    result: VERSIONS,
    run: (context, order) => work(context, { ...order, verb: 'list' }),
  }),
  verb({
    name: 'layer show',
    summary: 'A layer or a version, and who uses it.',
    changes: false,
    answer: 'result',
    order: objectOf<OrderOf<'show'>>({ layer: LAYER }),
    result: VERSIONS,
    run: (context, order) => work(context, { ...order, verb: 'show' }),
  }),
  verb({
    name: 'layer remove',
    summary: 'Removes a version that nobody uses.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'remove'>>({ layer: LAYER }),
    result: VERSIONS,
    run: (context, order) => work(context, { ...order, verb: 'remove', yes: true }),
  }),
  verb({
    name: 'layer gc',
    summary: 'Removes what no version needs.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'gc'>>({ dryRun: flag('Changes nothing.') }),
    result: REMOVED,
    run: (context, order) => work(context, { ...order, verb: 'gc' }),
  }),
  verb({
    name: 'layer commit',
    summary: 'Makes the changes of a view a version of a layer.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'commit'>>(COMMITTED, 'paths'),
    result: COMMIT,
    run: (context, order) => work(context, { ...order, verb: 'commit' }),
  }),
  verb({
    name: 'layer promote',
    summary: 'Makes some changes of a view a new version of a layer.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'promote'>>(COMMITTED, 'paths'),
    result: COMMIT,
    run: (context, order) => work(context, { ...order, verb: 'promote' }),
  }),
  verb({
    name: 'layer export',
    summary: 'Writes a view or layer as an image, a tar file or a directory, on the machine of the server.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'export'>>({
      what: text('A view, a layer or a version.'),
      format: oneOf('The form.', 'oci-layer', 'oci-archive', 'tar', 'overlay-dir'),
      to: text('Where.'),
    }),
    result: EXPORTED,
    run: (context, order) => work(context, { ...order, verb: 'export' }),
  }),
] as const
