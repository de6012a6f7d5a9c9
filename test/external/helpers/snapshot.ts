import { quote, type Shell } from './shell.ts'

/** One path of a tree as a client sees it. Everything is text as the tools print it; bytes are latin1 code units. */
export interface Entry {
  /** As find's `%y`: f d l p s c b. */
  readonly type: string
  /** Octal, with setuid, setgid and sticky. */
  readonly mode: string
  readonly uid: string
  readonly gid: string
  readonly size: string
  /** Seconds and nanoseconds. */
  readonly mtime: string
  readonly ctime: string
  readonly nlink: string
  readonly inode: string
  /** The target of a symlink. */
  readonly link: string
  /** SHA-256 of the content of a regular file that is not empty. */
  readonly hash: string
  /** Hexadecimal `major:minor` of a device. */
  readonly device: string
  /** `name=0xvalue`, sorted, one per line. */
  readonly xattrs: string
  /** The first of the paths that share the inode. */
  readonly firstLink: string
}

/** A tree: path below its root (the root is the empty path) to entry. */
export type Snapshot = ReadonlyMap<string, Entry>

/** Everything that a lower must keep. */
export const everyField: readonly (keyof Entry)[] = [
  'type',
  'mode',
  'uid',
  'gid',
  'size',
  'mtime',
  'ctime',
  'nlink',
  'inode',
  'link',
  'hash',
  'device',
  'xattrs',
]

/** What two views of one overlay must agree on: those of an NFS client and of the kernel's own mount. */
export const viewFields: readonly (keyof Entry)[] = [
  'type',
  'mode',
  'uid',
  'gid',
  'size',
  'mtime',
  'nlink',
  'link',
  'hash',
  'device',
  'firstLink',
]

/** What a WebDAV client can tell. */
export const davFields: readonly (keyof Entry)[] = ['type', 'size', 'hash']

const recordFields = 11

/**
 * Reads the tree at `dir` through `sh`: with one find, and unless `contents` is false with sha256sum and getfattr over everything;
 * what stands at the paths of `without` (no patterns) is left out.
 *
 * @throws ShellError anything could not be read, unless the tree is `changing`: then what cannot be read is not there
 */
export async function snapshot(
  sh: Shell,
  dir: string,
  options: { contents?: boolean; without?: readonly string[]; timeoutMs?: number; changing?: boolean } = {},
): Promise<Snapshot> {
  const { contents = true, without = [], timeoutMs = 600_000, changing = false } = options
  const at = `cd ${quote(dir)} && `
  const format = ['P', 'y', 'm', 'U', 'G', 's', 'T@', 'C@', 'n', 'i', 'l'].map((field) => `%${field}\\0`).join('')
  const prune = without.map((path) => `-path ${quote(`./${path.replace(/[*?[\\]/g, '\\$&')}`)} -prune -o `).join('')
  const lenient = changing ? ' 2> /dev/null || true' : ''
  const listing = split(await sh(`${at}find . ${prune}-printf '${format}'${lenient}`, timeoutMs))
  const over = (which: string, command: string) =>
    contents ? sh(`${at}find . ${prune}${which} -print0 | xargs -0 -r ${command} --`, timeoutMs) : ''
  const hashes = parseHashes(await over('-type f -size +0', 'sha256sum -z'))
  const devices = parsePairs(await over('\\( -type c -o -type b \\)', "stat --printf '%n\\0%t:%T\\0'"))
  const haveXattrs =
    contents && (await sh(`${at}getfattr -h -m - . > /dev/null 2>&1 && echo yes || echo no`)) === 'yes\n'
  const xattrs = parseXattrs(haveXattrs ? await over('', 'getfattr --absolute-names -h -d -m - -e hex') : '')
  const firstLinks = new Map<string, string>()
  const entries = new Map<string, Entry>()
  for (let at = 0; at < listing.length; at += recordFields) {
    const [path, type, mode, uid, gid, size, mtime, ctime, nlink, inode, link] = listing.slice(
      at,
      at + recordFields,
    ) as string[]
    const known = firstLinks.get(inode)
    if (known === undefined || path < known) firstLinks.set(inode, path)
    const key = path === '' ? '.' : `./${path}`
    entries.set(path, {
      ...{ type, mode, uid, gid, size, mtime, ctime, nlink, inode, link },
      hash: hashes.get(key) ?? '',
      device: devices.get(key) ?? '',
      xattrs: xattrs.get(key) ?? '',
      firstLink: '',
    })
  }
  for (const [path, entry] of entries) entries.set(path, { ...entry, firstLink: firstLinks.get(entry.inode) ?? '' })
  return entries
}

/**
 * What differs between two trees, one sentence per path, at most 40. Of a directory neither size nor nlink counts as part of a view,
 * as each file system has its own idea of them; with `everyField` they do.
 */
export function differences(
  expected: Snapshot,
  actual: Snapshot,
  fields: readonly (keyof Entry)[] = viewFields,
): string[] {
  const found: string[] = []
  for (const [path, want] of expected) {
    const got = actual.get(path)
    if (got === undefined) found.push(`${shown(path)} is missing`)
    else found.push(...entryDifferences(path, want, got, fields))
  }
  for (const path of actual.keys()) {
    if (!expected.has(path)) found.push(`${shown(path)} should not be there`)
  }
  return found.length > 40 ? [...found.slice(0, 40), `… ${found.length} in all`] : found
}

/**
 * The part of a tree that WebDAV carries: its directories and regular files. Symlinks show there as what they lead to: that and davfs2's own
 * `lost+found` is left out of the tree that a WebDAV client saw, when `whole` is the tree as it is.
 */
export function davTree(tree: Snapshot, whole: Snapshot = tree): Snapshot {
  const real = (path: string): boolean => path === '' || (whole.get(path)?.type !== 'l' && real(parentOf(path)))
  return new Map(
    [...tree].filter(([path, { type }]) => (type === 'd' || type === 'f') && path !== 'lost+found' && real(path)),
  )
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

/**
 * The part of `seen` that can be compared with a tree that others change meanwhile, and what it must be: what was `before` and is `after`, with
 * nothing of it changed. What was never there is seen in it, too, unless names came or went in its directory, or in one above.
 */
export function unchangedPart(
  before: Snapshot,
  after: Snapshot,
  seen: Snapshot,
): { expected: Snapshot; seen: Snapshot } {
  const same = (path: string): boolean => {
    const [one, other] = [before.get(path), after.get(path)]
    return one !== undefined && other !== undefined && entryDifferences(path, one, other, everyField).length === 0
  }
  const expected = new Map([...before].filter(([path]) => same(path)))
  const settled = (path: string): boolean => expected.has(path) && (path === '' || settled(parentOf(path)))
  const isStrange = (path: string): boolean => !before.has(path) && !after.has(path) && settled(parentOf(path))
  const part = [...seen].filter(([path]) => expected.has(path) || isStrange(path))
  return { expected, seen: new Map(part) }
}

/** The tree with all modification times from `sec` on made equal: those were set by a clock. */
export function hideTimesSince(tree: Snapshot, sec: number): Snapshot {
  const hide = (mtime: string) => (Number(mtime) >= sec && Number(mtime) < sec + 3600 ? 'during the test' : mtime)
  return new Map([...tree].map(([path, entry]) => [path, { ...entry, mtime: hide(entry.mtime) }]))
}

/** The paths of a tree that show something of an overlay's insides: private attributes, or names that helpers use. */
export function insidesShown(tree: Snapshot): string[] {
  const found: string[] = []
  for (const [path, entry] of tree) {
    if (/^(trusted|user)\.overlay\./m.test(entry.xattrs)) found.push(`${shown(path)} has ${entry.xattrs}`)
    if (entry.device === '0:0') found.push(`${shown(path)} is a whiteout`)
    if (/(^|\/)(\.wh\.|\.overlayd|\.nfs[0-9a-f]{8})/.test(path)) found.push(`${shown(path)} has a helper's name`)
  }
  return found
}

function entryDifferences(path: string, want: Entry, got: Entry, fields: readonly (keyof Entry)[]): string[] {
  const found: string[] = []
  for (const field of fields) {
    const vague = field === 'size' || field === 'nlink' || field === 'firstLink'
    if (vague && want.type === 'd' && !fields.includes('ctime')) continue
    if (want[field] !== got[field])
      found.push(`${shown(path)}: ${field} is ${shown(got[field])}, not ${shown(want[field])}`)
  }
  return found
}

function shown(text: string): string {
  return JSON.stringify(text)
}

function split(text: string): string[] {
  return text === '' ? [] : text.slice(0, -1).split('\0')
}

function parseHashes(text: string): Map<string, string> {
  return new Map(split(text).map((line) => [line.slice(66), line.slice(0, 64)]))
}

function parsePairs(text: string): Map<string, string> {
  const parts = split(text)
  const pairs = new Map<string, string>()
  for (let at = 0; at < parts.length; at += 2) pairs.set(parts[at] as string, parts[at + 1] as string)
  return pairs
}

function parseXattrs(text: string): Map<string, string> {
  const all = new Map<string, string>()
  for (const block of text.split('\n\n')) {
    const [head, ...lines] = block.split('\n')
    if (head?.startsWith('# file: '))
      all.set(
        unescapeOctal(head.slice(8)),
        lines
          .filter((line) => line !== '')
          .sort()
          .join('\n'),
      )
  }
  return all
}

/** getfattr writes bytes that would disturb its listing as `\ooo`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8)))
}
