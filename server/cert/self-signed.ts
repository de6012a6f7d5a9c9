import { hostname, networkInterfaces } from 'node:os'
import { systemRandom } from '../random.ts'
import { issueCertificate, serverNames } from './certificates.ts'

/** Long enough to try the server. */
const DAYS = 30

/** Makes a certificate that its own key has signed, for this machine and the hosts that the server listens on. */
export async function makeSelfSigned(
  listening: readonly (string | undefined)[],
  nowMs: number,
): Promise<{ readonly cert: string; readonly key: string }> {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const hosts = [
    ...['localhost', hostname().toLowerCase(), '127.0.0.1', '::1'],
    ...listening.filter((host) => host !== undefined && !/^(0\.0\.0\.0|::)$/.test(host)),
    ...addresses.filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  ] as string[]
  const names = serverNames([...new Set(hosts)].filter((host) => /^[A-Za-z0-9._:-]+$/.test(host)))
  return await issueCertificate(
    undefined,
    { commonName: 'overlayd (self-signed)', names, use: 'server', fromMs: nowMs, days: DAYS },
    systemRandom,
  )
}
