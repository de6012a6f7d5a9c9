import { readFile } from 'node:fs/promises'
import type { MacCheck } from '../../config/index.ts'

/** The neighbour table of IPv4: see proc_net(5). */
const TABLE = '/proc/net/arp'

/** The MAC that has an address according to the neighbour table; undefined if the table does not have it. */
export async function macOf(address: string, table: string = TABLE): Promise<string | undefined> {
  const text = await readFile(table, 'latin1').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return ''
    throw error
  })
  for (const line of text.split('\n').slice(1)) {
    const [ip, , flags, mac = ''] = line.split(/ +/)
    // An entry that is not complete has no MAC.
    if (ip === address && Number(flags) !== 0 && mac !== '00:00:00:00:00:00') return mac.toLowerCase()
  }
  return undefined
}

/** The error if a machine at `address` may not have the MAC that it claims; undefined if it may. */
export async function macError(check: MacCheck, address: string, mac: string | undefined): Promise<string | undefined> {
  if (check === 'never') return undefined
  const real = await macOf(address)
  if (real === undefined)
    return check === 'known' ? undefined : 'its address is not in the neighbour table of the server'
  if (mac === undefined) return check === 'known' ? undefined : 'it does not say its MAC'
  return real === mac ? undefined : `its address belongs to ${real}, not to ${mac}`
}
