import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import type { Server } from './peers.ts'
import { type Scenario, scriptOf } from './scenarios.ts'

/** What one run of a scenario on one server showed. */
export interface Sample {
  /** In the scenario's unit. */
  readonly rate: number
  /** Server CPU for one request, µs. */
  readonly cpuUs: number
  readonly p50Us: number
  readonly p99Us: number
  /** Memory of the server's processes after the run, each shared page counted once, MiB. */
  readonly memoryMib: number
  /** Share of one core that the load generator used. */
  readonly clientCores: number
  /** Requests that failed, and the first status that was not expected. */
  readonly errors: number
  readonly badStatus: number
}

interface LoadResult {
  readonly requests: number
  readonly errors: number
  readonly badStatus: number
  readonly seconds: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly p50Us: number
  readonly p99Us: number
  readonly clientCpuSeconds: number
}

/** How a load run is made. */
export interface LoadSettings {
  /** The compiled load generator. */
  readonly program: string
  /** Where its script goes. */
  readonly scriptFile: string
  readonly seconds: number
  /** A folder of the tree for this run, with a final slash. */
  readonly folder: string
}

/** Runs `scenario` on `server` and measures both. @throws Error the load generator fails */
export async function measure(server: Server, scenario: Scenario, settings: LoadSettings): Promise<Sample> {
  await writeFile(settings.scriptFile, scriptOf(scenario, server.prefix, settings.folder))
  const args = [String(server.port), String(scenario.connections), String(settings.seconds), settings.scriptFile]
  const child = spawn(settings.program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let before = 0
  let last = ''
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'measuring') before = cpuSeconds(server.pid)
    last = line
  }
  const cpu = cpuSeconds(server.pid) - before
  if (!last.startsWith('{')) throw new Error(`the load generator failed on ${server.name}`)
  const result = JSON.parse(last) as LoadResult
  return {
    rate:
      scenario.unit === 'req/s'
        ? result.requests / result.seconds
        : (result.bytesIn + result.bytesOut) / result.seconds / 1e6,
    cpuUs: (cpu / Math.max(result.requests, 1)) * 1e6,
    p50Us: result.p50Us,
    p99Us: result.p99Us,
    memoryMib: memoryMib(server.pid),
    clientCores: result.clientCpuSeconds / result.seconds,
    errors: result.errors,
    badStatus: result.badStatus,
  }
}

/** CPU time that the process and all its descendants have used. */
export function cpuSeconds(pid: number): number {
  let ticks = 0
  for (const process of family(pid)) {
    const fields = statFields(process)
    if (fields === undefined) continue
    // utime, stime and those of children that have ended.
    for (const index of [11, 12, 13, 14]) ticks += Number(fields[index])
  }
  return ticks / 100
}

function memoryMib(pid: number): number {
  let kib = 0
  for (const process of family(pid)) kib += Number(/^Pss:\s+(\d+)/m.exec(readProc(process, 'smaps_rollup'))?.[1] ?? 0)
  return kib / 1024
}

function family(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const parent = Number(statFields(Number(name))?.[1] ?? 0)
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const found = [pid]
  for (const member of found) found.push(...(children.get(member) ?? []))
  return found
}

/** The fields of `/proc/PID/stat` after the name: state, parent, … */
function statFields(pid: number): string[] | undefined {
  const text = readProc(pid, 'stat')
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    // The process has ended.
    return ''
  }
}
