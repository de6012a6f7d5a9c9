import { bind, lastErrno } from './call.ts'
import { sysError } from './error.ts'
import { effectiveUid } from './process.ts'

const CAP_SYS_RESOURCE = 24
/** CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SYS_ADMIN, MKNOD and SETFCAP: what root uses on its layers. */
const ON_LAYERS = [0, 1, 2, 3, 4, 21, 27, 31]
const PR_CAPBSET_DROP = 24
/** _LINUX_CAPABILITY_VERSION_3: two sets of three words (effective, permitted, inheritable). */
const VERSION = 0x20080522
const WORDS = 6
const EFFECTIVE = 0
const EPERM = 1

const capget = bind<[header: Uint8Array, data: Uint8Array]>('int capget(void *, void *)')
const capset = bind<[header: Uint8Array, data: Uint8Array]>('int capset(void *, const void *)')
const prctl = bind<[option: number, capability: number, c: number, d: number, e: number]>(
  'int prctl(int, uint64_t, uint64_t, uint64_t, uint64_t)',
)

/** Whether this process may exceed quotas, which all file systems but xfs allow to a process with CAP_SYS_RESOURCE. */
export function mayExceedQuotas(): boolean {
  return ((capabilities()[EFFECTIVE] as number) & (1 << CAP_SYS_RESOURCE)) !== 0
}

/** Whether this process may do to its layers what root may: as root, or as another user with the capabilities for it. */
export function actsAsRoot(): boolean {
  return effectiveUid() === 0 || hasCapabilitiesOnLayers()
}

let onLayers: boolean | undefined

/** The capabilities of a process of another user stay as they were at its start. */
function hasCapabilitiesOnLayers(): boolean {
  onLayers ??= ON_LAYERS.every((capability) => ((capabilities()[EFFECTIVE] as number) >>> capability) & 1)
  return onLayers
}

/**
 * Gives up CAP_SYS_RESOURCE for this thread and for every program that it executes. Other threads keep it, so the process must execute itself again.
 *
 * @throws EPERM the process lacks CAP_SETPCAP
 */
export function giveUpExceedingQuotas(): void {
  // Root gets everything again by executing a program, except what is not in the bounding set.
  if (prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0) !== 0) throw sysError('prctl', lastErrno() || EPERM)
  const words = capabilities()
  for (const set of [0, 1, 2]) words[set] = (words[set] as number) & ~(1 << CAP_SYS_RESOURCE)
  if (capset(headerOf(), bytesOf(words)) !== 0) throw sysError('capset', lastErrno() || EPERM)
}

function capabilities(): Uint32Array {
  const words = new Uint32Array(new ArrayBuffer(4 * WORDS))
  if (capget(headerOf(), bytesOf(words)) !== 0) throw sysError('capget', lastErrno() || EPERM)
  return words
}

/** struct __user_cap_header_struct: the version, and 0 for this thread. */
function headerOf(): Uint8Array {
  return bytesOf(new Uint32Array([VERSION, 0]))
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer)
}
