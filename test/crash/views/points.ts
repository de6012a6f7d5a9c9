/**
 * Loaded into a server by `--import`. From the first SIGUSR2 on it counts the moments before and after each call that may change the disk, and ends the
 * process at the one with the number `KILL_AT`, as `kill -9` does. At the second SIGUSR2 it says how many there were.
 */
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { killSelf } from '../process.ts'

const CHANGES = ['mkdir', 'rm', 'rmdir', 'unlink', 'rename', 'link', 'chmod', 'chown', 'open', 'writeFile'] as const
const FILE_CHANGES = ['writeFile', 'write', 'sync', 'datasync', 'truncate', 'close']

type Methods = Record<string, (...args: unknown[]) => Promise<unknown>>

const killAt = Number(process.env.KILL_AT)
let counting = false
let passed = 0

function point(): void {
  if (counting && ++passed === killAt) killSelf()
}

function watch(methods: Methods, names: readonly string[]): void {
  for (const name of names) {
    const method = methods[name] as Methods[string]
    methods[name] = async function (this: unknown, ...args) {
      point()
      const result = await method.apply(this, args)
      point()
      return result
    }
  }
}

const file = await fs.open('/dev/null')
watch(Object.getPrototypeOf(file) as Methods, FILE_CHANGES)
await file.close()
watch(fs as unknown as Methods, CHANGES)
syncBuiltinESMExports()

setFaultPoints({
  before: () => {
    point()
    return 0
  },
  after: point,
})

process.on('SIGUSR2', () => {
  process.stderr.write(counting ? `passed ${passed}\n` : 'counting\n')
  counting = true
})
