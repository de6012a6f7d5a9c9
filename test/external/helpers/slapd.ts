import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort, makeCertificate } from './proxies.ts'
import type { Scratch } from './scratch.ts'
import { quote } from './shell.ts'

/** The object below which everything is, its administrator, and who searches. */
export const BASE = 'dc=example,dc=org'
export const ADMIN = `cn=admin,${BASE}`
export const SEARCHER = `cn=search,${BASE}`
export const SEARCHER_PASSWORD = 'search-pw'

/** Debian's slapd with a directory of its own, for the time of the tests. */
export interface Slapd {
  /** `ldap://127.0.0.1:PORT`; StartTLS works there. */
  readonly url: string
  readonly secureUrl: string
  /** The certificate of the server, which is that of its authority too. */
  readonly caFile: string
  /** The running process; another one after `start`. */
  readonly process: ChildProcess
  /** Adds objects, or changes them, as LDIF. */
  change(ldif: string): Promise<void>
  kill(): Promise<void>
  start(): Promise<void>
  /** How many connections clients have opened to it so far. */
  connections(): Promise<number>
}

/** Starts slapd on the objects in `ldif`, which are below `BASE`. */
export async function startSlapd(scratch: Scratch, ldif: string): Promise<Slapd> {
  const at = (name: string) => join(scratch.path, 'slapd', name)
  await mkdir(at('data'), { recursive: true })
  const certificate = await makeCertificate(scratch, 'ldap.example.org')
  const [port, securePort] = [await freePort(), await freePort()]
  await writeFile(at('slapd.conf'), configuration(at, certificate))
  await writeFile(at('first.ldif'), TOP)
  await scratch.sh(`slapadd -f ${quote(at('slapd.conf'))} -l ${quote(at('first.ldif'))}`)
  const urls = [`ldap://127.0.0.1:${port}`, `ldaps://127.0.0.1:${securePort}`] as const
  const asAdmin = `-x -H ${urls[0]} -D ${quote(ADMIN)} -w admin-pw`
  const slapd = {
    url: urls[0],
    secureUrl: urls[1],
    caFile: certificate.cert,
    process: undefined as unknown as ChildProcess,
    async start() {
      const child = spawn('slapd', ['-d', '0', '-f', at('slapd.conf'), '-h', urls.join(' ')], {
        detached: true,
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
      slapd.process = child
      for (;;) {
        try {
          await scratch.sh(`ldapsearch ${asAdmin} -s base -b '' > slapd/log 2>&1`)
          return
        } catch (error) {
          if (child.exitCode !== null) throw error
          await pause(100)
        }
      }
    },
    async kill() {
      slapd.process.kill('SIGKILL')
      await once(slapd.process, 'close')
    },
    async change(text: string) {
      await writeFile(at('change.ldif'), text)
      await scratch.sh(`ldapmodify -a ${asAdmin} -f ${quote(at('change.ldif'))}`)
    },
    async connections() {
      const counter = 'cn=Total,cn=Connections,cn=Monitor'
      const found = await scratch.sh(`ldapsearch ${asAdmin} -LLL -s base -b ${counter} monitorCounter`)
      return Number(/monitorCounter: (\d+)/.exec(found)?.[1])
    },
  }
  await slapd.start()
  await slapd.change(ldif)
  scratch.defer(async () => {
    slapd.process.kill('SIGCONT')
    if (slapd.process.exitCode === null && slapd.process.signalCode === null) await slapd.kill()
  })
  return slapd
}

const TOP = `dn: ${BASE}
objectClass: dcObject
objectClass: organization
o: example

dn: ${SEARCHER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: ${SEARCHER_PASSWORD}
`

function configuration(at: (name: string) => string, { cert, key }: { cert: string; key: string }): string {
  return `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload back_monitor
moduleload memberof
pidfile ${at('pid')}
TLSCertificateFile ${cert}
TLSCertificateKeyFile ${key}
allow bind_anon_dn
database monitor
access to * by dn.exact="${ADMIN}" read
database mdb
suffix "${BASE}"
rootdn "${ADMIN}"
rootpw admin-pw
directory ${at('data')}
overlay memberof
memberof-group-oc groupOfNames
memberof-member-ad member
access to attrs=userPassword by anonymous auth
access to * by dn.exact="${SEARCHER}" read
`
}
