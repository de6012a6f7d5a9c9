import { networkInterfaces, release } from 'node:os'
import { formatAddress, isLoopback, type Settings } from '../config/index.ts'
import { actsAsRoot } from '../overlay-core/index.ts'
import { readExports } from './nfs-listener.ts'
import type { ListeningAddresses, WebdavAddress } from './running-server.ts'
import { subjectOf } from './tls/credentials.ts'
import type { TlsKeeper } from './tls/tls-keeper.ts'
import { version } from './version.ts'
import { isServedBy, type View } from './views.ts'

/** The port where clients expect NFS by default. */
const NFS_PORT = 2049

/** The text printed once every listener accepts connections: mount commands first, then hints. */
export function announce(
  listening: ListeningAddresses,
  views: readonly View[],
  settings: Settings,
  warnings: readonly string[] = [],
): string {
  const { webdav, nfs, boot, admin } = listening
  const lines = [`overlayd ${version()} serves ${views.map(describe).join(', ')}. To mount:`]
  for (const view of views) {
    if (webdav !== undefined && isServedBy('webdav', view)) {
      for (const url of davUrls(webdav, davName(view, settings), settings.publicUrls))
        lines.push(`  mount -t davfs ${url} /mnt`)
    }
    if (nfs !== undefined && isServedBy('nfs', view)) lines.push(`  ${nfsMount(nfs, view, settings)}`)
  }
  if (boot !== undefined) lines.push(`Machines boot from http://${formatAddress(boot.host, boot.port)}/boot.ipxe`)
  if (admin !== undefined) lines.push(`Administrators use ${admin}`)
  const first = views.find((view) => isServedBy('webdav', view))
  const url = webdav && first && davUrl(webdav, davName(first, settings))
  if (url !== undefined) lines.push(...webdavHints(url))
  if (listening.tls !== undefined) lines.push(...tlsHints(listening.tls, settings))
  if (webdav?.user !== undefined && actsAsRoot() && settings.configFile === undefined)
    lines.push(userHint(webdav.user, settings.as !== undefined))
  for (const { name, overlay } of views) for (const notice of overlay.notices) lines.push(`Note on ${name}: ${notice}.`)
  for (const warning of warnings) lines.push(`Warning: ${warning}.`)
  if (settings.views[0]?.mount === undefined) lines.push(...sampleHints(url, settings.stateDir))
  lines.push('Press Ctrl-C to stop.', '')
  return lines.join('\n')
}

function describe({ name, overlay, settings: { template } }: View): string {
  if (template !== undefined) return `${name} (${template.ephemeral ? 'ephemeral, ' : ''}${template.kind})`
  return overlay.readOnly ? `${name} (read-only)` : name
}

/** The path of a view over NFS; in that of a template people write their own name. */
function nfsName({ name, settings: { template } }: View): string {
  if (template === undefined) return name
  return template.kind === 'per-user' ? `${name}/USER` : `${name}/self`
}

/** The path of a view over WebDAV. That of a template is the view of the user who asks, or of the one user there is; otherwise it names a user. */
function davName({ name, settings: { template, as } }: View, settings: Settings): string {
  const one = settings.login !== undefined || (as ?? settings.as) !== undefined
  return template?.kind !== 'per-user' || one ? name : `${name}/~USER`
}

function davUrl({ host, port, scheme }: WebdavAddress, name: string): string {
  return `${scheme}://${formatAddress(clientHost(host), port)}/${name}/`
}

/** The URLs that clients use for a view: those of the proxies, if there are any. */
function davUrls(webdav: WebdavAddress, name: string, publicUrls: readonly string[]): string[] {
  return publicUrls.length === 0 ? [davUrl(webdav, name)] : publicUrls.map((origin) => `${origin}/${name}/`)
}

function nfsMount({ host, port }: { host: string; port: number }, view: View, settings: Settings): string {
  const findable = settings.portmap || settings.rpcbind
  const options = findable ? [] : ['vers=3', 'tcp', 'nolock', `port=${port}`, `mountport=${port}`]
  const server = clientHost(host)
  const shown = server.includes(':') ? `[${server}]` : server
  // Clients that can ask a portmapper need only the name; with another port they also need vers=3, or version 4 would try port 2049 first.
  if (findable && port !== NFS_PORT) options.push('vers=3')
  // Beyond this machine clear text is refused unless the export allows it.
  if (settings.tls !== undefined && !isLoopback(host)) {
    if (findable && port === NFS_PORT) options.push('vers=3')
    options.push(settings.tls.clientCa === undefined ? 'xprtsec=tls' : 'xprtsec=mtls')
    // Linux sends lock calls in clear text on such a mount too.
    if (findable && !readExports(view.settings.exports).some(({ insecureLocks }) => insecureLocks))
      options.push('nolock')
  }
  return `mount -t nfs ${options.length === 0 ? '' : `-o ${options.join(',')} `}${shown}:/${nfsName(view)} /mnt`
}

/** The address that a client uses if the server listens on all addresses. */
function clientHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1'
}

function webdavHints(url: string): string[] {
  const hints = [`Browser, Finder, Explorer: ${url}`]
  if (davfsNeedsBufSize(release())) {
    hints.push(
      '(davfs2 on this kernel needs the line "buf_size 64" in /etc/davfs2/davfs2.conf. Without it, ls fails with "Invalid argument".)',
    )
  }
  return hints
}

/** What a person needs to trust the server's certificate, or to see that it is the right one. */
function tlsHints({ credentials: { own, authorities } }: TlsKeeper, { tls }: Settings): string[] {
  const until = own.validToDate.toISOString().slice(0, 10)
  const made = tls?.own === 'self-signed' ? 'self-signed, for this run only' : subjectOf(own)
  const lines = [`TLS certificate: ${made}, valid to ${until}, SHA-256 ${own.fingerprint256}`]
  if (authorities.length > 0)
    lines.push(
      `Clients ${tls?.clients === 'require' ? 'need' : 'may have'} a certificate of ${authorities.map(subjectOf).join(' or ')}.`,
    )
  return lines
}

/** Says which user WebDAV acts as, which is not obvious if root runs the server. */
function userHint({ uid, gid }: { readonly uid: number; readonly gid: number }, chosen: boolean): string {
  if (!chosen)
    return `WebDAV acts as nobody (${uid}:${gid}) because there is no login. Use --as UID:GID or --as root to change this.`
  return uid === 0
    ? 'WebDAV acts as root (--as): everyone who can reach it can read and change every file.'
    : `WebDAV acts as ${uid}:${gid} (--as).`
}

/** Since Linux 6.16, FUSE refuses the small read buffer of davfs2 1.7. */
function davfsNeedsBufSize(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number)
  return process.platform === 'linux' && (major > 6 || (major === 6 && minor >= 16))
}

function sampleHints(url: string | undefined, stateDir: string): string[] {
  const tries =
    url === undefined
      ? []
      : [
          `  curl ${url}README.md`,
          `  echo hello | curl -T - ${url}hello.txt`,
          `  curl -X DELETE ${url}docs/draft.txt`,
          `  curl -X MOVE -H 'Destination: ${url}handbook/' ${url}docs/`,
        ]
  return [
    'This is the sample. Try these in another terminal:',
    ...tries,
    `  ls -lR ${stateDir}/sample/upper    # all changes are here, and only here`,
    'To serve your own files: npx overlayd -o lowerdir=DIR,upperdir=DIR,workdir=DIR',
  ]
}
