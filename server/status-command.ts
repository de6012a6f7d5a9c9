import { Agent, request } from 'undici'
import { formatAddress, type StatusSettings } from '../config/index.ts'
import { askServer } from './config-server.ts'
import { type RunFile, readRunFiles } from './state-dir.ts'
import type { Counters, ServerStatus, ViewStatus } from './status.ts'

/** How long a server on this machine may take to answer. */
const TIMEOUT_MS = 5_000

/**
 * `overlayd status`: asks one server, or all servers listed in the state directory, and prints the answers.
 * Returns the exit status: 0 if all of them answered, 1 if one did not or none runs.
 */
export async function printStatus(settings: StatusSettings, print: (text: string) => void): Promise<number> {
  const agent = new Agent({ connect: { timeout: TIMEOUT_MS }, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })
  const { url, stateDir } = settings
  const servers: readonly Asked[] =
    url === undefined ? await knownServers(stateDir, print) : [{ name: url, ask: () => ask(url, agent) }]
  let failed = servers.length === 0
  const answers: ServerStatus[] = []
  try {
    for (const { name, ask } of servers) {
      const answer = await ask()
      if (typeof answer === 'string') {
        failed = true
        print(`${name}: ${answer}\n`)
      } else answers.push(answer)
    }
  } finally {
    await agent.close()
  }
  if (settings.json) print(`${JSON.stringify(url === undefined ? answers : (answers[0] ?? null), null, 2)}\n`)
  else for (const answer of answers) print(table(answer))
  return failed ? 1 : 0
}

/** A server to ask. */
interface Asked {
  readonly name: string
  /** Its status, or the reason why there is none. */
  readonly ask: () => Promise<ServerStatus | string>
}

async function knownServers(stateDir: string, print: (text: string) => void): Promise<Asked[]> {
  const runFiles = await readRunFiles(stateDir)
  if (runFiles.length === 0)
    print(`no server runs with the state directory ${stateDir}; use --url or --state-dir to name one\n`)
  return runFiles.map((runFile) => ({ name: `server ${runFile.pid}`, ask: () => askAtSocket(runFile) }))
}

async function askAtSocket(runFile: RunFile): Promise<ServerStatus | string> {
  const answer = await askServer(runFile, 'status', {})
  return 'result' in answer ? answer.result : answer.failure
}

/** The status of the server at `url`, or the reason why there is none. */
async function ask(url: string, dispatcher: Agent): Promise<ServerStatus | string> {
  try {
    const { statusCode, body } = await request(new URL('/-/status', url), { dispatcher })
    if (statusCode === 200) return (await body.json()) as ServerStatus
    await body.dump()
    return `answered ${statusCode}; it is not overlayd, or not on this machine`
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ECONNREFUSED' ? 'no server is listening' : `does not answer (${code ?? message})`
  }
}

/** The status as a table for people, one line per fact. */
function table(status: ServerStatus): string {
  const { webdav, nfs, boot } = status.doors
  const rows: [name: string, value: string][] = [
    ['server', `overlayd ${status.version}, process ${status.pid}, up ${duration(status.uptimeSeconds)}`],
    ['memory', `${Math.round(status.memoryBytes / 2 ** 20)} MiB`],
    ...status.views.map((view): [string, string] => ['view', viewText(view)]),
  ]
  if (webdav !== undefined) rows.push(['webdav', webdav.url], ...flat('webdav', webdav.counters))
  if (nfs !== undefined) rows.push(['nfs', formatAddress(nfs.host, nfs.port)], ...flat('nfs', nfs.counters))
  if (boot !== undefined) rows.push(['boot', boot.url], ...flat('boot', boot.counters))
  rows.push(
    ...flat('http', status.http),
    ...flat('admin', status.admin),
    ...flat('log', status.log),
    ...flat('faults', status.faults),
  )
  const width = Math.max(...rows.map(([name]) => name.length)) + 2
  return `${rows.map(([name, value]) => name.padEnd(width) + value).join('\n')}\n`
}

function viewText({ name, readOnly, template }: ViewStatus): string {
  if (template === undefined) return readOnly ? `${name} (read-only)` : name
  return `${name} (${template.kind}: ${template.views} views, ${template.open} open)`
}

/** Counters as rows `listener.group.name`; zero counters are omitted. */
function flat(prefix: string, counters: Counters): [string, string][] {
  return Object.entries(counters).flatMap(([name, value]): [string, string][] => {
    if (typeof value !== 'number') return flat(`${prefix}.${name}`, value)
    return value === 0 ? [] : [[`${prefix}.${name}`, value.toLocaleString('en')]]
  })
}

function duration(seconds: number): string {
  const days = Math.floor(seconds / 86_400)
  const time = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60]
  const clock = time.map((part) => String(part).padStart(2, '0')).join(':')
  return days === 0 ? clock : `${days}d ${clock}`
}
