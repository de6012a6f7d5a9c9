import { parseAddress } from '../address.ts'
import { parseIdentity } from '../option-values.ts'
import { parseNetwork, parsePublicUrl } from '../proxy-options.ts'
import { LOCK_POLICIES, LOG_LEVELS, SYMLINK_POLICIES } from '../settings.ts'
import { TLS_CLIENT_POLICIES } from '../tls-options.ts'
import type { Table } from './key.ts'
import { absolutePath } from './path.ts'
import { choiceType, listType, SWITCH, textType, wholeType } from './value-types.ts'

/** A path; a relative one starts at the directory of the configuration file. */
export const PATH = textType('"PATH"', 'a path', (text, { directory }) => absolutePath(text, directory))

/** `"UID:GID"` or `"root"`. */
export const IDENTITY = textType('"UID:GID"|"root"', 'a user and a group', (text, { uid }) => ({
  ...(parseIdentity(text, uid) as { uid: number; gid: number }),
  text,
}))

/** The address of a listener; `off` gives undefined. */
const address = (option: string) =>
  textType('"HOST:PORT"|"off"', 'an address', (text) => ({ text, address: parseAddress(option, text, true) }))

export const SERVER = {
  name: 'server',
  named: false,
  meaning: 'The server itself.',
  keys: {
    state_dir: {
      type: PATH,
      option: '--state-dir',
      meaning:
        'The directory in which the server keeps its own files. It is created if missing, and only the user that runs the server can access it.',
      otherwise: '`/var/lib/overlayd` for root, else `$XDG_STATE_HOME/overlayd` or `~/.local/state/overlayd`',
      example: '"state"',
    },
    ready_file: {
      type: PATH,
      option: '--ready-file',
      meaning: 'A file that is written when every listener accepts connections, and removed when the server stops.',
      example: '"/run/overlayd.ready"',
    },
  },
} as const satisfies Table

export const LOG = {
  name: 'log',
  named: false,
  meaning: 'The log.',
  keys: {
    level: {
      type: choiceType(LOG_LEVELS),
      option: '--log-level',
      meaning:
        'The log level. Each level includes those before it. The log is JSON, one object a line, on standard error.',
      default: '"warn"',
    },
  },
} as const satisfies Table

export const WEBDAV = {
  name: 'webdav',
  named: false,
  meaning: 'How WebDAV is served. The [exports](#exports) define which views it serves, and to which clients.',
  keys: {
    listen: {
      type: address('--webdav'),
      option: '--webdav',
      meaning:
        'Where WebDAV listens. Port 0 picks a free port; an IPv6 address needs brackets. An address that other machines can reach also needs a [login](#login) with `[tls]` or a trusted proxy, or `clients = "require"` in `[tls]`, or `insecure_no_auth`.',
      default: '"127.0.0.1:8080"',
      example: '"[::1]:8080"',
    },
    as: {
      type: IDENTITY,
      option: '--as',
      meaning:
        'The user and group that WebDAV requests act as, in exports that name none. They decide what requests may do and who owns new files. Only a server run by root can act as another user.',
      otherwise: "nobody if root runs the server, else the server's own user and groups",
      example: '"1000:1000"',
    },
    locks: {
      type: choiceType(LOCK_POLICIES),
      option: '--locks',
      meaning:
        'Which clients must respect WebDAV locks. `"advisory"`: other WebDAV clients. `"mandatory"`: NFS clients too; their changes of locked objects then fail with *Permission denied*.',
      default: '"advisory"',
    },
    symlinks: {
      type: choiceType(SYMLINK_POLICIES),
      option: '--symlinks',
      meaning:
        'What WebDAV clients see of symbolic links. `"follow"`: the target, if it lies inside the tree. `"hide"`: nothing, but the name is still taken. `"refuse"`: a name that answers 403 and can only be renamed or deleted.',
      default: '"follow"',
    },
    depth_infinity: {
      type: SWITCH,
      option: '--depth-infinity',
      meaning: 'Whether PROPFIND on a whole tree (`Depth: infinity`) is allowed. A single request reads everything.',
      default: 'false',
    },
    insecure_no_auth: {
      type: SWITCH,
      option: '--insecure-no-auth',
      meaning:
        'Allows WebDAV to listen beyond loopback without a login. All clients that can reach the port may do whatever the user of the export may.',
      default: 'false',
    },
    public_urls: {
      type: listType(textType('"URL"', 'a URL', (text) => parsePublicUrl(text, undefined))),
      option: '--public-url',
      meaning:
        'URLs at which clients reach WebDAV through proxies: only the origin, because proxies must pass paths on unchanged. See [Behind a proxy](../deploy/README.md#behind-a-proxy).',
      default: '[]',
      example: '["https://files.example.org"]',
    },
    trusted_proxies: {
      type: listType(
        textType('"ADDRESS[/BITS]"', 'an address', (text) => ({
          text,
          network: parseNetwork('--trusted-proxy', text),
        })),
      ),
      option: '--trusted-proxy',
      meaning: 'Proxies whose `Forwarded` and `X-Forwarded-Host` fields are trusted: addresses or networks.',
      default: '[]',
      example: '["10.0.0.0/8"]',
    },
  },
} as const satisfies Table

/** The certificate of the server: `self-signed` stays a word. */
const CERTIFICATE = textType('"PATH"|"self-signed"', 'a path', (text, { directory }) =>
  text === 'self-signed' ? text : absolutePath(text, directory),
)

export const TLS = {
  name: 'tls',
  named: false,
  meaning:
    'Encryption, for all listeners. Files that change are read again within a second, without a reload. See [tls.md](tls.md).',
  keys: {
    certificate: {
      type: CERTIFICATE,
      option: '--tls',
      meaning:
        'The certificate of the server in PEM form, followed by those of intermediate authorities. WebDAV then speaks HTTPS only. `"self-signed"` makes one at each start, to try it.',
      otherwise: 'nothing is encrypted',
      example: '"tls/server.pem"',
    },
    key: {
      type: PATH,
      meaning: 'The private key of the certificate, in PEM form.',
      otherwise: 'it is in the file of the certificate',
      example: '"tls/server.key"',
    },
    client_ca: {
      type: PATH,
      option: '--tls-client-ca',
      meaning:
        'The authorities whose client certificates are accepted, in PEM form. Clients are then asked for a certificate.',
      otherwise: 'clients are not asked for a certificate',
      example: '"tls/ca.pem"',
    },
    clients: {
      type: choiceType(TLS_CLIENT_POLICIES),
      option: '--tls-clients',
      meaning:
        'Whether WebDAV clients need a certificate. `"request"`: they may have one. `"require"`: without a certificate there is no connection.',
      default: '"request"',
    },
    revoked: {
      type: PATH,
      option: '--tls-revoked',
      meaning:
        'Lists of revoked client certificates (CRL), in PEM form. A certificate that is added loses its connections within a second.',
      otherwise: 'no certificate is revoked',
      example: '"tls/revoked.pem"',
    },
  },
} as const satisfies Table

export const NFS = {
  name: 'nfs',
  named: false,
  meaning: 'How NFS is served. The [exports](#exports) define which views it serves, and to which clients.',
  keys: {
    listen: {
      type: address('--nfs'),
      option: '--nfs',
      meaning:
        'Where NFS listens. One TCP port serves NFS version 3, MOUNT, NLM and NSM. Port 0 picks a free port. Without `portmap` or `rpcbind` a client must mount with `port=2049,mountport=2049,nolock`.',
      default: '"127.0.0.1:2049"',
      example: '"0.0.0.0:2049"',
    },
    manage_gids: {
      type: SWITCH,
      option: '--manage-gids',
      meaning:
        'Whether the groups of NFS users come from this machine instead of from the client, which can send at most sixteen.',
      default: 'false',
    },
    portmap: {
      type: SWITCH,
      option: '--portmap',
      meaning:
        'Whether the server answers portmapper queries on port 111, so that a plain `mount -t nfs` works, with locks. For machines that do not run rpcbind.',
      default: 'false',
    },
    rpcbind: {
      type: SWITCH,
      option: '--rpcbind',
      meaning:
        "Whether NFS is registered with this machine's rpcbind, so that a plain `mount -t nfs` works, with locks.",
      default: 'false',
    },
    lock_grace: {
      type: wholeType(1, 3600, ' of seconds'),
      option: '--lock-grace',
      meaning: 'For how many seconds clients may reclaim their NFS locks after a restart. Nobody gets new locks then.',
      default: '45',
    },
  },
} as const satisfies Table
