import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RandomBytes } from './random.ts'
import { readStateFile, writeStateFile } from './state-dir.ts'

const VERIFIER_FILE = 'nfs-write-verifier'
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** The NFS write verifier and how to change it. */
export interface KeptVerifier {
  readonly bytes: Uint8Array
  /** Makes and saves a new verifier. */
  renew(): Promise<Uint8Array>
}

/**
 * The write verifier. It stays the same for every run since the machine booted, because data written by a killed server stays in the kernel's page cache and
 * COMMIT in the next run makes it durable. A boot loses that data and therefore changes the verifier, and so does a failed write
 * of the kernel (`renew`). `failed` is called if the verifier cannot be saved: it is then valid for this run only.
 */
export async function loadWriteVerifier(
  stateDir: string,
  random: RandomBytes,
  failed: (error: unknown) => void,
  bootIdFile = BOOT_ID,
): Promise<KeptVerifier> {
  const path = join(stateDir, VERIFIER_FILE)
  const boot = await readBootId(bootIdFile)
  const renew = async () => {
    const bytes = random(8)
    await writeStateFile(path, `${boot} ${Buffer.from(bytes).toString('hex')}\n`).catch(failed)
    return bytes
  }
  const known = parseVerifier(await readStateFile(path), boot)
  return { bytes: known ?? (await renew()), renew }
}

/** The id of the current boot of the machine. */
export async function readBootId(file = BOOT_ID): Promise<string> {
  return (await readFile(file, 'latin1')).trim()
}

function parseVerifier(text: string | undefined, boot: string): Uint8Array | undefined {
  const [keptBoot, hex = ''] = (text ?? '').trim().split(' ')
  return keptBoot === boot && /^[0-9a-f]{16}$/.test(hex) ? Buffer.from(hex, 'hex') : undefined
}
