import type { RunningServer } from '../../running-server.ts'
import type { ObjectSchema, Schema, SchemaOf } from './schema.ts'

/** Who sent an order. */
export interface Requester {
  /** The login name; undefined: whoever may use the socket, which is root or the user of the server. */
  readonly user: string | undefined
  /** The address of the client; undefined: this machine, by the socket. */
  readonly address: string | undefined
}

/** How far long work has come. All parts may be absent. */
export interface Progress {
  /** What is done at present, for people. */
  readonly text?: string
  /** How much of `total` is done, in any unit. */
  readonly done?: number
  readonly total?: number
}

/** What a verb is executed with. */
export interface VerbContext {
  readonly server: RunningServer
  readonly by: Requester
  /** Aborted when a job is cancelled, or a client has gone that waited. Work that changes several things looks at it between them. */
  readonly signal: AbortSignal
  /** Tells how far the work has come; without effect unless the verb is a job. Cheap: it may be called for each object. */
  progress(progress: Progress): void
}

/**
 * How a verb answers: `result`: at once, with one JSON value. `job`: it may take long, so it goes on in the background, with progress, and can be
 * cancelled. `lines`: with lines of JSON, one after the other (`application/x-ndjson`).
 */
export type AnswerKind = 'result' | 'job' | 'lines'

/** Something that an administrator can do. From it come the route, the API document, and the request of the command line. */
export interface Verb<Name extends string, Order, Result, Kind extends AnswerKind = AnswerKind> {
  /** One or more words, as in `view rename`. Its route is `POST /v1/view/rename`. */
  readonly name: Name
  /** One sentence for the API document. */
  readonly summary: string
  /** Whether it changes anything. Verbs that do not are also answered to GET, with the order in the query. */
  readonly changes: boolean
  readonly answer: Kind
  readonly order: SchemaOf<Order> & { readonly schema: ObjectSchema }
  /** Of a job: what it comes to in the end. Of `lines`: one line. */
  readonly result: SchemaOf<Result>
  /** @throws OptionError the order is refused, and nothing has changed */
  readonly run: (
    context: VerbContext,
    order: Order,
  ) => Promise<Kind extends 'lines' ? AsyncIterable<Result | string> : Result>
}

/** Declares a verb; keeps its types. */
export function verb<const Name extends string, Order, Result, const Kind extends AnswerKind>(
  entry: Verb<Name, Order, Result, Kind>,
): Verb<Name, Order, Result, Kind> {
  return entry
}

/** A verb whose types are not known. */
export type AnyVerb = Omit<Verb<string, never, unknown>, 'order' | 'result' | 'run'> & {
  readonly order: { readonly schema: ObjectSchema }
  readonly result: { readonly schema: Schema }
  readonly run: (context: VerbContext, order: never) => Promise<unknown>
}

/** The path of the route of a verb. */
export function pathOf(name: string): string {
  return `/v1/${name.replaceAll(' ', '/')}`
}

/** An error as the API answers it. */
export interface AdminFailure {
  /** What is wrong, and the mend. */
  readonly message: string
  /** The option or part of the order that is wrong. */
  readonly option?: string
}
