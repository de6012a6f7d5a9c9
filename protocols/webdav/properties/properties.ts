import { type Attr, FileType, type Inode, type Name, type StatFs } from '../../../overlay-core/index.ts'
import { contentTypeOf } from '../http/content-type.ts'
import { etagOf } from '../http/etag.ts'
import { httpDate, isoDate } from '../http/http-date.ts'
import { textOfName } from '../http/path.ts'
import { escapeText } from '../http/xml-write.ts'
import { locksOn } from '../locks/resource-locks.ts'
import { checksumXml, OWNCLOUD_NAMESPACE, type Sums } from '../state/checksums.ts'
import type { DavServices, DavView } from '../state/context.ts'
import { lockDiscovery, SUPPORTED_LOCKS } from './lock-xml.ts'
import { MICROSOFT_NAMESPACE } from './win32-properties.ts'

/** The namespace of the `executable` property, which Apache's mod_dav_fs introduced. */
export const APACHE_NAMESPACE = 'http://apache.org/dav/props/'

/** A resource whose properties are requested. */
export interface Described {
  readonly view: DavView
  /** The displayed name as bytes; for the root, the name of the view. */
  readonly name: Name
  /** The path for lock checks, with symlinks resolved. */
  readonly names: readonly Name[]
  readonly inode: Inode
  readonly attr: Attr
  /** As far as known, and only if the query requests them. */
  readonly sums?: Sums | undefined
}

/** Data for one response only: the time, the locks and the free space. */
export interface Moment {
  readonly services: DavServices
  readonly statfs: StatFs | undefined
}

/** A property the server computes. */
export interface LiveProperty {
  readonly uri: string
  readonly local: string
  /** Whether `allprop` includes it. */
  readonly common: boolean
  /** Its content as XML; undefined if the resource has no such property. */
  value(resource: Described, moment: Moment): string | undefined
}

function live(local: string, value: LiveProperty['value'], options: Partial<LiveProperty> = {}): LiveProperty {
  return { uri: 'DAV:', local, common: true, ...options, value }
}

const ofFile = (value: (resource: Described) => string) => (resource: Described) =>
  isFile(resource) ? value(resource) : undefined

/** Whether the resource is a file and not a collection. */
export function isFile({ attr }: Described): boolean {
  return attr.type === FileType.regular
}

const SUPPORTED_REPORTS = '<D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report>'

/** All live properties, in the order of `allprop`. */
export const LIVE_PROPERTIES: readonly LiveProperty[] = [
  live('resourcetype', (resource) => (isFile(resource) ? '' : '<D:collection/>')),
  live('displayname', ({ name }) => escapeText(textOfName(name))),
  live('creationdate', ({ attr }) => isoDate(attr.btime ?? earlier(attr))),
  // As in the Last-Modified field of GET.
  live('getlastmodified', ({ attr }, { services }) => httpDate(notLater(attr.mtime.sec, services.now()))),
  live('lastmodified', ({ attr }) => String(attr.mtime.sec), { common: false }),
  live(
    'getcontentlength',
    ofFile(({ attr }) => String(attr.size)),
  ),
  live(
    'getcontenttype',
    ofFile(({ name }) => contentTypeOf(name)),
  ),
  live(
    'getetag',
    ofFile(({ inode, attr }) => etagOf(inode, attr)),
  ),
  live('supportedlock', () => SUPPORTED_LOCKS),
  live('supported-report-set', (resource) => (isFile(resource) ? undefined : SUPPORTED_REPORTS), { common: false }),
  live('lockdiscovery', currentLocks),
  live(
    'quota-available-bytes',
    (resource, { statfs }) => (isFile(resource) || statfs === undefined ? undefined : String(statfs.availableBytes)),
    { common: false },
  ),
  live(
    'quota-used-bytes',
    (resource, { statfs }) =>
      isFile(resource) || statfs === undefined ? undefined : String(statfs.totalBytes - statfs.freeBytes),
    { common: false },
  ),
  live(
    'executable',
    ofFile(({ attr }) => ((attr.mode & 0o100) === 0 ? 'F' : 'T')),
    { uri: APACHE_NAMESPACE, common: false },
  ),
  live('checksums', ({ sums }) => (sums === undefined ? undefined : checksumXml(sums)), {
    uri: OWNCLOUD_NAMESPACE,
    common: false,
  }),
  live('Win32LastModifiedTime', ({ attr }) => httpDate(attr.mtime.sec), { uri: MICROSOFT_NAMESPACE, common: false }),
  live('Win32LastAccessTime', ({ attr }) => httpDate(attr.atime.sec), { uri: MICROSOFT_NAMESPACE, common: false }),
]

const BY_NAME = new Map(LIVE_PROPERTIES.map((property) => [`${property.uri} ${property.local}`, property]))

/** The live property with this name; undefined if such a property would be dead. */
export function liveProperty(uri: string, local: string): LiveProperty | undefined {
  return BY_NAME.get(`${uri} ${local}`)
}

/** A time in seconds for clients, never in the future (RFC 9110 section 8.8.2.1). */
export function notLater(sec: number, nowMs: number): number {
  return Math.min(sec, Math.floor(nowMs / 1000))
}

function currentLocks(resource: Described, { services }: Moment): string {
  const { locks } = services
  return locks.size === 0 ? '' : lockDiscovery(resource.view, locksOn(locks, resource), services.lockNow())
}

function earlier({ ctime, mtime }: Attr): Attr['mtime'] {
  return mtime.sec < ctime.sec ? mtime : ctime
}
