import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PlantedFault, planted } from './planted-fault.ts'

/** How long one test may take with a fault in the program: what hangs has noticed it. */
const HANGS_AFTER_MS = 120_000
/** Not taken into the copy. */
const LEFT_OUT = new Set(['.git', '.tap', 'dist', 'node_modules'])

/** What became of one fault. */
export interface Outcome {
  readonly fault: PlantedFault
  readonly kind: 'noticed' | 'survived' | 'invalid'
  /** The test that noticed, or what is wrong with the fault. */
  readonly by: string
  readonly seconds: number
}

interface Run {
  readonly ok: boolean
  readonly hung: boolean
  readonly output: string
}

/** A copy of the repository in which sources may be spoiled. Several can be at work at once. */
export class Workshop {
  readonly #top: string
  readonly #dir: string

  /** @param top the repository */
  constructor(top: string) {
    this.#top = top
    this.#dir = mkdtempSync(join(tmpdir(), 'overlayd-mutation-'))
    for (const name of readdirSync(top)) {
      if (!LEFT_OUT.has(name))
        cpSync(join(top, name), join(this.#dir, name), { recursive: true, verbatimSymlinks: true })
    }
    symlinkSync(join(top, 'node_modules'), join(this.#dir, 'node_modules'))
  }

  /** Whether a test passes in sound sources, as it has to before its failing tells anything. */
  async passes(test: string): Promise<boolean> {
    return (await this.#run(test)).ok
  }

  /** Plants a fault, runs its tests until one fails, and takes the fault away again. */
  async try(fault: PlantedFault): Promise<Outcome> {
    const startMs = performance.now()
    const outcome = (kind: Outcome['kind'], by: string): Outcome => ({
      ...{ fault, kind, by },
      seconds: (performance.now() - startMs) / 1000,
    })
    const path = join(this.#dir, fault.file)
    const sound = readFileSync(join(this.#top, fault.file), 'utf8')
    let spoiled: string
    try {
      spoiled = planted(sound, fault)
    } catch (error) {
      return outcome('invalid', (error as Error).message)
    }
    writeFileSync(path, spoiled)
    try {
      for (const test of fault.tests) {
        const { ok, hung, output } = await this.#run(test)
        if (/\bSyntaxError\b/.test(output)) return outcome('invalid', 'the spoiled source cannot be read')
        if (!ok) return outcome('noticed', hung ? `${test} (hangs)` : test)
      }
      return outcome('survived', fault.tests.join(', '))
    } finally {
      writeFileSync(path, sound)
    }
  }

  /** Runs one test to its end, or ends it with all that it has started. */
  #run(test: string): Promise<Run> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [test], {
        cwd: this.#dir,
        detached: true,
        env: { ...process.env, TAP_BAIL: '1', TAP_TIMEOUT: String(HANGS_AFTER_MS / 1000) },
      })
      let output = ''
      let hung = false
      const timer = setTimeout(() => {
        hung = true
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      }, HANGS_AFTER_MS)
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
      child.on('error', reject)
      child.on('close', (code) => {
        clearTimeout(timer)
        resolve({ ok: code === 0, hung, output })
      })
    })
  }

  /** Takes the copy away. */
  close(): void {
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
