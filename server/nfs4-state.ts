import type { RandomBytes } from './random.ts'
import { readStateFile, writeStateFile } from './state-dir.ts'

const OWNER_BYTES = 16
const LAST_BOOT = 0xffff_fffe

/** What tells one run of an NFSv4 server from another, and this server from all others. */
export interface Nfs4Instance {
  /** The number of the run: higher than that of every earlier one. */
  readonly boot: number
  /** Random bytes, the same in each run. */
  readonly serverOwner: Uint8Array
}

/**
 * Counts a run. The number is at least the time in seconds, so that it is not repeated if the file is lost. `failed` is called if the new number cannot be saved: the next run
 * then relies on its clock.
 */
export async function loadNfs4Instance(
  path: string,
  random: RandomBytes,
  nowMs: number,
  failed: (error: unknown) => void,
): Promise<Nfs4Instance> {
  const earlier = parse(await readStateFile(path))
  const serverOwner = earlier?.serverOwner ?? random(OWNER_BYTES)
  const boot = Math.min(Math.max((earlier?.boot ?? 0) + 1, Math.floor(nowMs / 1000)), LAST_BOOT)
  await writeStateFile(path, `${boot} ${Buffer.from(serverOwner).toString('hex')}\n`).catch(failed)
  return { boot, serverOwner }
}

function parse(text: string | undefined): Nfs4Instance | undefined {
  const [, boot, hex] = /^(\d{1,10}) ([0-9a-f]{32})\n$/.exec(text ?? '') ?? []
  return hex === undefined ? undefined : { boot: Number(boot), serverOwner: Buffer.from(hex, 'hex') }
}
