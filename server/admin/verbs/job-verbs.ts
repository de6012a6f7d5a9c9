import { JOB, type Job } from '../api/job.ts'
import { listOf, NO_ORDER, objectOf, text } from '../api/schema.ts'
import { verb } from '../api/verb.ts'

const ID = objectOf<{ readonly id: string }>({ id: text('Which job.') })

/** Long work that was begun by other verbs. */
export const JOB_VERBS = [
  verb({
    name: 'job list',
    summary: 'The jobs that run, and the latest that have ended, without their results.',
    changes: false,
    answer: 'result',
    order: NO_ORDER,
    result: listOf(JOB),
    run: async ({ server }): Promise<readonly Job[]> => server.jobs.list(),
  }),
  verb({
    name: 'job show',
    summary: 'A job with its result.',
    changes: false,
    answer: 'result',
    order: ID,
    result: JOB,
    run: async ({ server }, { id }) => server.jobs.show(id),
  }),
  verb({
    name: 'job cancel',
    summary: 'Asks a job to stop. It stops at its next safe place.',
    changes: true,
    answer: 'result',
    order: ID,
    result: JOB,
    run: async ({ server }, { id }) => server.jobs.cancel(id),
  }),
] as const
