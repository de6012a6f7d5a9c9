import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RandomBytes } from './random.ts'
import { readStateFile, writeStateFile } from './state-dir.ts'

const VERIFIER_FILE = 'nfs-write-verifier'
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** The write verifier of NFS and how to change it. */
export interface KeptVerifier {
  readonly bytes: Uint8Array
  /** Makes another one, which holds for later runs too. */
  renew(): Promise<Uint8Array>
}

/**
 * The write verifier: the same in every run since the machine booted, as what a killed server has written stays in the kernel's page cache and
 * COMMIT in the next run makes it durable. A boot loses it, so another verifier comes then; and one whenever the kernel
 * failed to write (`renew`). `failed` is told when it cannot be kept: then it holds for this run.
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

/** What tells this boot of the machine from all others. */
export async function readBootId(file = BOOT_ID): Promise<string> {
  return (await readFile(file, 'latin1')).trim()
}

function parseVerifier(text: string | undefined, boot: string): Uint8Array | undefined {
  const [keptBoot, hex = ''] = (text ?? '').trim().split(' ')
  return keptBoot === boot && /^[0-9a-f]{16}$/.test(hex) ? Buffer.from(hex, 'hex') : undefined
}
