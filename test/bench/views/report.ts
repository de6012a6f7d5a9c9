import type { LongestStalls, Stall } from '../../helpers/stalls.ts'
import type { Held, Timed } from './measure.ts'

const LONGEST_STALL_MS = 20

/** Prints figures and counts those that miss their bars. */
export class Report {
  missed = 0

  heading(text: string): void {
    console.log(`\n${text}`)
  }

  /** @param bars the most that the median and the 99th percentile may be, in milliseconds */
  times(
    what: string,
    { medianMs, p99Ms, cpuMs, stalls, burstMs }: Timed,
    bars: { medianMs?: number; p99Ms?: number } = {},
  ): void {
    this.figure(`${what}: median`, medianMs, 'ms', bars.medianMs)
    this.figure(`${what}: p99`, p99Ms, 'ms', bars.p99Ms)
    this.figure(`${what}: processor time per view`, cpuMs, 'ms')
    this.stalls(what, stalls)
    this.figure(`${what}: longest turn of the loop in processor time`, burstMs, 'ms')
  }

  /** The longest stalls, and what the thread did meanwhile. */
  stalls(what: string, { byClock, own }: LongestStalls): void {
    this.figure(`${what}: longest stall`, byClock.ms, 'ms', LONGEST_STALL_MS)
    console.log(`    ${textOf(byClock)}`)
    this.figure(`${what}: longest stall without waiting for a processor`, own.ms - own.readyMs, 'ms')
    console.log(`    ${textOf(own)}`)
  }

  /** What `count` views added between two measurements. */
  memory(what: string, before: Held, after: Held, count: number, bars: { heapKiB?: number } = {}): void {
    const each = (key: keyof Held) => (after[key] - before[key]) / count
    this.figure(`${what}: heap per view`, each('heap') / 1024, 'KiB', bars.heapKiB)
    this.figure(`${what}: resident per view`, each('resident') / 1024, 'KiB')
    this.figure(`${what}: descriptors per view`, each('descriptors'), '')
  }

  /** A part of 1. @param least the bar; undefined: none */
  ratio(what: string, value: number, least?: number): void {
    const misses = least !== undefined && value < least
    if (misses) this.missed++
    const bar = least === undefined ? '' : `≥ ${least}${misses ? '  MISSED' : ''}`
    console.log(`  ${what.padEnd(72)}${value.toFixed(2).padStart(14)}   ${bar}`.trimEnd())
  }

  /** @param most the bar; undefined: none */
  figure(what: string, value: number, unit: string, most?: number): void {
    const text = value >= 100 ? value.toFixed(0) : value.toPrecision(3)
    const misses = most !== undefined && value >= most
    if (misses) this.missed++
    const bar = most === undefined ? '' : `< ${most} ${unit}${misses ? '  MISSED' : ''}`
    console.log(`  ${what.padEnd(72)}${`${text} ${unit}`.padStart(14)}   ${bar}`.trimEnd())
  }
}

function textOf({ ms, ranMs, readyMs, collectingMs }: Stall): string {
  const waitedMs = Math.max(0, ms - ranMs - readyMs)
  const parts = [
    `it ran ${ranMs.toFixed(1)} ms`,
    `waited for a processor ${readyMs.toFixed(1)} ms, for anything else ${waitedMs.toFixed(1)} ms`,
    `collected garbage ${collectingMs.toFixed(1)} ms`,
  ]
  return parts.join('; ')
}
