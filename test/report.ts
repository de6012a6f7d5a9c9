/**
 * Reports a run of tap for people and logs: one line for each test file when it ends, and below a failed one the names of what failed with
 * the diagnosis. Reads TAP from standard input.
 */
import { createInterface } from 'node:readline'

/** Lines of diagnosis shown for one failure; the whole of it is in the TAP file. */
const MOST_LINES = 40

let failures: string[] = []
let diagnosis = 0

for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
  if (/^(not )?ok \d+ - .*\.test\.ts/.test(line)) {
    process.stdout.write(`${line.replace(/^(not )?ok \d+ - /, (_, not) => (not ? 'FAILED: ' : 'ok: '))}\n`)
    if (line.startsWith('not ')) process.stdout.write(failures.map((failure) => `${failure}\n`).join(''))
    failures = []
    diagnosis = 0
  } else if (/^\s*not ok /.test(line)) {
    failures.push(line)
    diagnosis = MOST_LINES
  } else if (/^\s*(ok \d|# Subtest)/.test(line)) diagnosis = 0
  else if (diagnosis > 0) {
    failures.push(line)
    diagnosis--
  }
}
