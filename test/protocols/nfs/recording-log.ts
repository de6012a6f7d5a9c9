import type { Logger } from '../../../protocols/nfs/index.ts'

/** A logger that keeps what is warned of. */
export function recordingLog(): { log: Logger; complaints: string[] } {
  const complaints: string[] = []
  const keep = (fields: object, message = ''): void => {
    complaints.push(
      `${message} ${JSON.stringify(fields, (_key, value) => (value instanceof Error ? value.stack : value))}`,
    )
  }
  const drop = (): void => undefined
  return { log: { debug: drop, info: drop, warn: keep, error: keep }, complaints }
}
