import type { FastifyInstance } from 'fastify'
import { version } from '../../version.ts'
import { JOB } from '../api/job.ts'
import type { ObjectSchema, Schema } from '../api/schema.ts'
import { type AnyVerb, pathOf } from '../api/verb.ts'
import { apiPage } from './api-page.ts'
import { JOB_EVENTS_PATH } from './job-events.ts'

/** An OpenAPI 3.1 document, as far as it is used here. */
export interface ApiDocument {
  readonly openapi: '3.1.0'
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

export interface ApiOperation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly parameters?: readonly object[]
  readonly requestBody?: object
  readonly responses: Readonly<Record<string, object>>
}

const FAILURE: Schema = {
  type: 'object',
  properties: {
    message: { type: 'string', description: 'What is wrong, and the mend.' },
    option: { type: 'string', description: 'The part of the order that is wrong.' },
  },
  required: ['message'],
  additionalProperties: false,
}

const DESCRIPTION =
  'What administrators do with a running overlayd server. Every verb is answered to POST with its order as JSON; verbs that change nothing also to GET with the order in the query. Long work is answered with 202 and a job.'

/** Makes the OpenAPI document of the verbs. */
export function apiDocument(verbs: readonly AnyVerb[]): ApiDocument {
  const paths: Record<string, Record<string, ApiOperation>> = {}
  for (const each of verbs) paths[pathOf(each.name)] = operationsOf(each)
  paths[JOB_EVENTS_PATH] = { get: EVENTS }
  return {
    openapi: '3.1.0',
    info: { title: 'overlayd', version: version(), description: DESCRIPTION },
    paths,
    components: { schemas: { Failure: FAILURE, Job: JOB.schema } },
  }
}

/** Adds `/openapi.json`, and the same for people at `/api`. */
export function addApiDocument(app: FastifyInstance, verbs: readonly AnyVerb[]): void {
  let document: ApiDocument | undefined
  const made = () => (document ??= apiDocument(verbs))
  app.get('/openapi.json', async () => made())
  app.get('/api', (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .header('content-security-policy', "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'")
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .send(apiPage(made())),
  )
}

const json = (schema: Schema | { readonly $ref: string }, type = 'application/json') => ({
  content: { [type]: { schema } },
})

const REFUSALS = {
  '400': {
    description: 'The order is refused; nothing has changed.',
    ...json({ $ref: '#/components/schemas/Failure' }),
  },
  '401': { description: 'A login is needed.' },
  '403': { description: 'Only administrators may do this.' },
}

function operationsOf(entry: AnyVerb): Record<string, ApiOperation> {
  const { name, summary, order, changes } = entry
  const common = { summary, tags: [name.split(' ', 1)[0] as string], responses: { ...answersOf(entry), ...REFUSALS } }
  const post: ApiOperation = {
    operationId: idOf(name),
    ...common,
    requestBody: { required: order.schema.required.length > 0, ...json(order.schema) },
  }
  if (changes) return { post }
  return { get: { operationId: `${idOf(name)}ByQuery`, ...common, parameters: parametersOf(order.schema) }, post }
}

function answersOf({ answer, result }: AnyVerb): Record<string, object> {
  if (answer === 'result') return { '200': { description: 'Done.', ...json(result.schema) } }
  if (answer === 'lines')
    return { '200': { description: 'Lines of JSON.', ...json(result.schema, 'application/x-ndjson') } }
  const description = 'The job that does it. Its `result` is described in `x-result`.'
  return { '202': { description, ...json({ $ref: '#/components/schemas/Job' }), 'x-result': result.schema } }
}

function parametersOf({ properties, required }: ObjectSchema): object[] {
  return Object.entries(properties).map(([name, schema]) => ({
    ...{ name, in: 'query', required: required.includes(name), schema },
    ...('description' in schema && { description: schema.description }),
  }))
}

/** `view rename` → `viewRename`. */
function idOf(name: string): string {
  return name.replace(/[ -](.)/g, (_all, letter: string) => letter.toUpperCase())
}

const EVENTS: ApiOperation = {
  operationId: 'jobEvents',
  summary: 'Server-sent events: a job whenever it has changed. With an id only that job, until it has ended.',
  tags: ['job'],
  parameters: [{ name: 'id', in: 'query', required: false, schema: { type: 'string' } }],
  responses: {
    '200': { description: 'Events named `job`, with a job as JSON.', ...json(JOB.schema, 'text/event-stream') },
  },
}
