import { join } from 'node:path'
import { readStateFile, writeStateFile } from '../state-dir.ts'
import type { RebaseReport } from './report.ts'

/** The report about the last rebase, in the directory of the view, and in that of the layer that was its upper. */
const FILE = 'conflicts.json'

/** What is kept of a rebase for the user of the view. */
export interface KeptReport
  extends Pick<RebaseReport, 'view' | 'from' | 'to' | 'counts' | 'conflicts' | 'conflictCount'> {
  /** The id of the layer that the upper has become. */
  readonly layer: string
  /** ISO 8601. */
  readonly at: string
  readonly aside?: string
}

/** Saves a report, durably. */
export async function saveReport(directory: string, report: KeptReport): Promise<void> {
  await writeStateFile(join(directory, FILE), `${JSON.stringify(report)}\n`)
}

/** The report about the rebase that made this layer, from one of the directories; undefined if there is none. */
export async function readReport(layer: string, directories: readonly string[]): Promise<KeptReport | undefined> {
  for (const directory of directories) {
    const report = reportIn(await readStateFile(join(directory, FILE)))
    if (report?.layer === layer) return report
  }
  return undefined
}

function reportIn(text: string | undefined): KeptReport | undefined {
  try {
    const value: unknown = JSON.parse(text ?? 'null')
    if (typeof value !== 'object' || value === null || !('layer' in value) || !('conflicts' in value)) return undefined
    return value as KeptReport
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
