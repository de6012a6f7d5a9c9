import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { cpuSeconds, type Sample } from './measure.ts'
import type { Server } from './peers.ts'
import { BIG_MIB, type Scenario } from './scenarios.ts'

const UNITS: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }

/** A wrk script that asks for all small files in turn. */
const SMALL_FILES = `local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", string.format("%sfiles/d%02d/f%02d", wrk.path, math.floor(n / 100) % 100, n % 100))
end
`

/** A scenario as it is measured with TLS, by wrk on kept connections; none if it does more than read whole files. */
export function withTls(scenario: Scenario): Scenario[] {
  const [step, ...more] = scenario.steps
  if (more.length > 0 || step?.method !== 'GET' || step.headers?.Range !== undefined) return []
  return [{ ...scenario, bars: scenario.unit === 'req/s' ? { apache: 1 } : { nginx: 0.9 } }]
}

/** Runs a scenario with TLS on `server`, and measures. @throws Error wrk fails, or the server gives errors */
export async function measureTls(
  server: Server,
  { connections, steps, unit }: Scenario,
  { seconds, scriptFile }: { readonly seconds: number; readonly scriptFile: string },
): Promise<Sample> {
  const path = steps[0]?.path ?? ''
  const many = path.includes('{f}')
  await writeFile(scriptFile, many ? SMALL_FILES : '')
  const url = `https://127.0.0.1:${server.port}${server.prefix}${many ? '' : path.replace(/^\//, '')}`
  const before = cpuSeconds(server.pid)
  const { stdout } = await promisify(execFile)('wrk', [
    ...[
      '-t',
      '1',
      '-c',
      String(connections),
      '-d',
      `${seconds}s`,
      '--timeout',
      '30s',
      '--latency',
      '-s',
      scriptFile,
      url,
    ],
  ])
  const cpu = cpuSeconds(server.pid) - before
  const [, requests = '0', taken = '1'] = /(\d+) requests in ([\d.]+)s/.exec(stdout) ?? []
  const [, amount = '0', unitName = 'B'] = /Transfer\/sec:\s+([\d.]+)(\w+)/.exec(stdout) ?? []
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? '0'
  const perSecond = Number(amount) * (UNITS[unitName] ?? 1)
  // Of a large file wrk counts only those that have arrived completely.
  const done = unit === 'req/s' ? Number(requests) : (perSecond * Number(taken)) / (BIG_MIB * 1024 ** 2)
  const rate = unit === 'req/s' ? Number(requests) / Number(taken) : perSecond / 1e6
  return {
    rate,
    cpuUs: (cpu / Math.max(done, 1e-6)) * 1e6,
    p50Us: latency(stdout, '50%'),
    p99Us: latency(stdout, '99%'),
    memoryMib: 0,
    clientCores: 0,
    errors: Number(bad),
    badStatus: 0,
  }
}

function latency(text: string, part: string): number {
  const [, value = '0', unit = 'us'] = new RegExp(`${part}\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? []
  return Number(value) * ({ us: 1, ms: 1e3, s: 1e6 }[unit] ?? 1)
}
