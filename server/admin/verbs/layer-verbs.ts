import type { LayerWork } from '../../../config/index.ts'
import type { LayerAnswer } from '../../layers/layer-work.ts'
import { flag, objectOf, oneOf, type SchemaOf, text } from '../api/schema.ts'
import { type VerbContext, verb } from '../api/verb.ts'

/** The order of a verb: the work without its name, and without what only the command asks. */
type OrderOf<Verb extends LayerWork['verb']> = Omit<WorkOf<Verb>, 'verb' | 'yes'>

type WorkOf<Verb, Work = LayerWork> = Work extends { readonly verb: infer Known }
  ? Verb extends Known
    ? Work
    : never
  : never

const ANSWER: SchemaOf<LayerAnswer> = {
  schema: { description: 'The layers and versions concerned, or what was removed, committed or exported.' },
}
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

async function work({ server, signal, progress }: VerbContext, order: LayerWork): Promise<LayerAnswer> {
  const { doLayerWork } = await import('../../layers/layer-work.ts')
  return await doLayerWork(server, order, { signal, progress: ({ step, done }) => progress({ text: step, done }) })
}

/** Versions of layers: made, listed, removed, and made of views. */
export const LAYER_VERBS = [
  verb({
    name: 'layer add',
    summary: 'Makes a layer with a first version.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'add'>>(MADE, ...(['version', 'whiteoutFiles'] as const)),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'add' }),
  }),
  verb({
    name: 'layer publish',
    summary: 'Makes a new version of a layer.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'publish'>>(MADE, ...(['version', 'whiteoutFiles'] as const)),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'publish' }),
  }),
  verb({
    name: 'layer import',
    summary: 'Makes a version of a layer of what was exported.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'import'>>(MADE, ...(['version', 'whiteoutFiles'] as const)),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'import' }),
  }),
  verb({
    name: 'layer list',
    summary: 'The layers and their versions.',
    changes: false,
    answer: 'result',
    order: objectOf<OrderOf<'list'>>({ layer: text('Only this layer.') }, 'layer'),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'list' }),
  }),
  verb({
    name: 'layer show',
    summary: 'A layer or a version, and who uses it.',
    changes: false,
    answer: 'result',
    order: objectOf<OrderOf<'show'>>({ layer: LAYER }),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'show' }),
  }),
  verb({
    name: 'layer remove',
    summary: 'Removes a version that nobody uses.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'remove'>>({ layer: LAYER }),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'remove', yes: true }),
  }),
  verb({
    name: 'layer gc',
    summary: 'Removes what no version needs.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'gc'>>({ dryRun: flag('Changes nothing.') }),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'gc' }),
  }),
  verb({
    name: 'layer commit',
    summary: 'Makes the changes of a view a version of a layer.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'commit'>>(COMMITTED, 'paths'),
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'commit' }),
  }),
  verb({
    name: 'layer promote',
    summary: 'Makes some changes of a view a new version of a layer.',
    changes: true,
    answer: 'job',
    order: objectOf<OrderOf<'promote'>>(COMMITTED, 'paths'),
    result: ANSWER,
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
    result: ANSWER,
    run: (context, order) => work(context, { ...order, verb: 'export' }),
  }),
] as const
