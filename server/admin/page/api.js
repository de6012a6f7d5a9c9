// The verbs of the admin API, as its document describes them, and how to order them.

import { readLines, reasonIn } from './changes.js'

let known

/** All verbs: name, summary, whether it changes anything, how it answers, and the fields of its order. */
export async function verbs() {
  known ??= await readVerbs()
  return known
}

async function readVerbs() {
  const { paths } = await (await fetch('/openapi.json')).json()
  const found = []
  for (const [path, operations] of Object.entries(paths)) {
    const { post } = operations
    if (post === undefined) continue
    const schema = post.requestBody.content['application/json'].schema
    found.push({
      name: path.slice('/v1/'.length).replaceAll('/', ' '),
      summary: post.summary,
      changes: operations.get === undefined,
      isJob: post.responses['202'] !== undefined,
      isLines: post.responses['200']?.content['application/x-ndjson'] !== undefined,
      fields: schema.properties,
      required: schema.required,
    })
  }
  return found
}

/** The verb of a name; undefined if this server has none. */
export async function verbOf(name) {
  return (await verbs()).find((each) => each.name === name)
}

function request(name, order) {
  const url = `/v1/${name.replaceAll(' ', '/')}`
  return [url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(order) }]
}

/** Executes a verb. Returns what it answers; of long work the job, which goes on. Throws an Error in the words of the server. */
export async function run(name, order = {}) {
  let response
  try {
    response = await fetch(...request(name, order))
  } catch {
    throw new Error('no answer from the server')
  }
  if (!response.ok) throw new Error(await reasonIn(response))
  return response.status === 204 ? {} : await response.json()
}

/** Executes a verb that answers lines, and gives each to `take`. */
export async function runLines(name, order, take) {
  await readLines(...request(name, order), take)
}

/** Waits for the end of a job, and returns it. `onChange(job)` is told of its progress. */
export function followJob(id, onChange = () => undefined) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/v1/job/events?id=${encodeURIComponent(id)}`)
    events.addEventListener('job', ({ data }) => {
      const job = JSON.parse(data)
      onChange(job)
      if (job.state === 'running') return
      events.close()
      resolve(job)
    })
    events.addEventListener('error', () => {
      if (events.readyState === EventSource.CLOSED) reject(new Error('the connection to the server is lost'))
    })
  })
}
