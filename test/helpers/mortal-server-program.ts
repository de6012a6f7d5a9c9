import {
  mount,
  type Overlay,
  openPersistentMemory,
  type PersistentMemory,
  parseOptions,
} from '../../overlay-core/index.ts'
import { parseExport, REPLY_MEMORY_BYTES, type ReplyMemory, startNfs } from '../../protocols/nfs/index.ts'
import type { MortalSettings } from './mortal-server.ts'

const CHANGES = new Set(['create', 'mkdir', 'symlink', 'mknod', 'link', 'unlink', 'rmdir', 'rename', 'setattr'])
/** A change of the memory that is this long or shorter is the first part of a record: the call is about to be run. */
const START_BYTES = 112

const settings = JSON.parse(process.argv[2] as string) as MortalSettings
const { dies } = settings
let happened = 0

function happens(when: 'done' | 'answered'): void {
  if (dies?.when === when && ++happened === dies.after) process.kill(process.pid, 'SIGKILL')
}

/** The overlay, whose changes are made but never heard of. */
function mute(overlay: Overlay): Overlay {
  return new Proxy(overlay, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      if (!CHANGES.has(String(name))) return value.bind(target)
      return async (...args: unknown[]) => {
        await value.apply(target, args)
        happens('done')
        return new Promise(() => undefined)
      }
    },
  })
}

function watched(memory: PersistentMemory): ReplyMemory {
  return {
    bytes: memory.bytes,
    changed(offset, length) {
      memory.changed(offset, length)
      // The store as a whole is written once, when it is made.
      if (length > START_BYTES && length < memory.bytes.length) happens('answered')
    },
  }
}

const overlay = await mount(parseOptions(settings.options))
const quiet = () => undefined
const server = await startNfs({
  host: '127.0.0.1',
  port: 0,
  exports: [
    {
      name: 'overlay',
      overlay: dies?.when === 'done' ? mute(overlay) : overlay,
      rules: parseExport('127.0.0.1(rw,no_root_squash,insecure,sync)'),
    },
  ],
  handleKey: Buffer.alloc(32, 7),
  writeVerifier: Buffer.alloc(8, 1),
  log: {
    debug: quiet,
    info: quiet,
    warn: quiet,
    error: (fields, text) => process.stderr.write(`${text} ${String(fields)}\n`),
  },
  replyMemory: watched(await openPersistentMemory(settings.replies, REPLY_MEMORY_BYTES)),
})
process.stdout.write(`${server.port}\n`)
