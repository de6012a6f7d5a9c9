import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Arena } from './arena.ts'
import type { Attack } from './attack.ts'
import { Fixtures } from './fixtures.ts'
import { giveWay } from './priority.ts'
import type { Outcome } from './report.ts'

export interface RunOptions {
  readonly quick: boolean
  /** Told of every attack before it begins, and when it has ended. */
  readonly begins?: (attack: Attack) => void
  readonly ended?: (outcome: Outcome) => void
}

const REAPER = fileURLToPath(new URL('../external/helpers/reaper', import.meta.url))

/** Runs attacks one after the other, each in a folder and on servers of its own. What they mounted and made is taken away, also when this process is killed. */
export async function runAttacks(attacks: readonly Attack[], options: RunOptions): Promise<Outcome[]> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-hostile-'))
  // Users other than root come through it to what they attack.
  chmodSync(dir, 0o755)
  const reaper = spawn(REAPER, [dir], { detached: true, stdio: ['pipe', 'ignore', 'inherit'] })
  const reaped = once(reaper, 'close')
  giveWay()
  const outcomes: Outcome[] = []
  try {
    const fixtures = new Fixtures(join(dir, 'fixtures'))
    for (const attack of attacks) {
      options.begins?.(attack)
      const outcome = await runOne(attack, new Arena(join(dir, attack.name), fixtures, options.quick))
      outcomes.push(outcome)
      options.ended?.(outcome)
    }
  } finally {
    reaper.stdin.end()
    await reaped
  }
  return outcomes
}

async function runOne(attack: Attack, arena: Arena): Promise<Outcome> {
  const startedMs = performance.now()
  try {
    await attack.run(arena)
  } catch (error) {
    arena.check('the attack runs to its end', false, error instanceof Error ? error.message : error)
  }
  for (const failure of await arena.clear()) arena.check('all is cleared away', false, failure)
  const { figures, checks } = arena
  return { attack, figures, checks, seconds: (performance.now() - startedMs) / 1000 }
}
