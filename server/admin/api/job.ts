import { objectOf, type Schema, text, time } from './schema.ts'
import type { AdminFailure, Progress } from './verb.ts'

export const JOB_STATES = ['running', 'done', 'failed', 'cancelled'] as const
export type JobState = (typeof JOB_STATES)[number]

/** Long work as the API shows it. */
export interface Job {
  readonly id: string
  /** The name of the verb. */
  readonly verb: string
  /** What was asked for. */
  readonly order: object
  readonly state: JobState
  /** Who asked for it; absent: somebody at the socket. */
  readonly user?: string
  /** ISO 8601. */
  readonly started: string
  readonly ended?: string
  readonly progress?: Progress
  /** Whether it was asked to stop. */
  readonly cancelling?: boolean
  /** What it came to; only when one job is asked for. */
  readonly result?: unknown
  /** Why it failed. */
  readonly error?: AdminFailure
}

const ANY: Schema = { description: 'As the document of the verb says.' }

const PROGRESS: Schema = {
  type: 'object',
  properties: {
    text: { type: 'string' },
    done: { type: 'number' },
    total: { type: 'number' },
  },
  required: [],
  additionalProperties: false,
}

const FAILURE: Schema = {
  type: 'object',
  properties: { message: { type: 'string' }, option: { type: 'string' } },
  required: ['message'],
  additionalProperties: false,
}

export const JOB = objectOf<Job>(
  {
    id: text('Names the job.'),
    verb: text('The verb that it executes.'),
    order: ANY,
    state: { type: 'string', enum: JOB_STATES },
    user: text('Who asked for it; absent: somebody at the socket.'),
    started: time('When it began.'),
    ended: time('When it ended.'),
    progress: PROGRESS,
    cancelling: { type: 'boolean', description: 'Whether it was asked to stop.' },
    result: ANY,
    error: FAILURE,
  },
  ...(['user', 'ended', 'progress', 'cancelling', 'result', 'error'] as const),
)
