/** `npm run bench:slow-disk`: see HELP. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { makeImage, mountSlowly } from './disk.ts'
import { type Figures, fill, measure } from './load.ts'

const HELP = `usage: npm run bench:slow-disk -- [OPTIONS]

How long others wait while one client makes a slow disk work: it looks up, reads, makes, writes and removes files that are in no cache, on an ext4
in a throttled loop device, where a block takes 20 ms, while another asks once in a millisecond for attributes that are in memory. In turn with system calls on threads alone,
and with short ones on the event loop when nothing else waits. Needs root and bindfs.

  --rounds N    default 3
  --seconds S   length of one measurement; default 20
  --help
`

const text = { type: 'string' } as const
const { values } = parseArgs({ options: { rounds: text, seconds: text, help: { type: 'boolean' } } })

if (values.help) process.stdout.write(HELP)
else if (process.env.UV_THREADPOOL_SIZE === undefined) {
  // As many threads as the server has; and mounts of its own, which end with it.
  const env = { ...process.env, UV_THREADPOOL_SIZE: '16' }
  const again = ['--mount', process.execPath, ...process.argv.slice(1)]
  process.exitCode = spawnSync('unshare', again, { stdio: 'inherit', env }).status ?? 1
} else await compare(mkdtempSync(join(tmpdir(), 'overlayd-slow-disk-')))

async function compare(dir: string): Promise<void> {
  try {
    await makeImage(dir, fill)
    process.stdout.write(
      `${row('wait of others, ms', ['p50', 'p99', 'p99.9', 'longest', 'operations/s of the first'])}\n`,
    )
    for (let round = 0; round < Number(values.rounds ?? 3); round++) {
      for (const onLoop of [false, true]) {
        const disk = await mountSlowly(dir)
        try {
          const figures = await measure(disk.path, onLoop, Number(values.seconds ?? 20) * 1000)
          process.stdout.write(`${row(onLoop ? 'short calls on the loop' : 'threads alone', cells(figures))}\n`)
        } finally {
          await disk.unmount()
        }
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function cells({ waits, operations, seconds }: Figures): string[] {
  const sorted = waits.toSorted((a, b) => a - b)
  const at = (part: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN).toFixed(2)
  return [at(0.5), at(0.99), at(0.999), at(1), (operations / seconds).toFixed(1)]
}

function row(name: string, columns: readonly string[]): string {
  return name.padEnd(26) + columns.map((column) => column.padStart(10)).join('')
}
