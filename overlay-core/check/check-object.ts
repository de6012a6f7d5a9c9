import { FileType, type Name } from '../api/types.ts'
import { decodeIdentity } from '../layer/identity.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import { originIsWellFormed } from '../lookup/origin.ts'
import type { Stat } from '../sys/stat.ts'
import { getXattr, removeXattr, setXattr } from '../sys/xattr.ts'
import { type Finding, finding, type Report } from './finding.ts'

/** The longest redirect that the kernel writes, in bytes (OVL_REDIRECT_MAX). */
const REDIRECT_MAX_BYTES = 256

/** An object of an upper that is checked, with its attributes. */
export interface CheckedObject {
  readonly path: readonly Name[]
  /** Names it for system calls: `name` in `dirFd`. */
  readonly dirFd: number
  readonly name: Name
  readonly stat: Stat
  readonly xattrs: ReadonlySet<string>
}

/** What the marks of one object say by themselves. */
export interface CheckedMarks {
  readonly findings: readonly Finding[]
  /** Undefined if there is none that can be followed. */
  readonly redirect: string | undefined
  readonly opaque: boolean
}

/** Checks the form of the marks of one object. */
export async function checkMarks(names: XattrNames, object: CheckedObject): Promise<CheckedMarks> {
  return await new MarkCheck(names, object).run()
}

class MarkCheck {
  readonly #names: XattrNames
  readonly #object: CheckedObject
  readonly #findings: Finding[] = []

  constructor(names: XattrNames, object: CheckedObject) {
    this.#names = names
    this.#object = object
  }

  async run(): Promise<CheckedMarks> {
    const opaque = await this.#opaque()
    const redirect = await this.#redirect()
    await this.#origin()
    await this.#counts()
    return { findings: this.#findings, redirect, opaque }
  }

  get #isDirectory(): boolean {
    return this.#object.stat.type === FileType.directory
  }

  async #opaque(): Promise<boolean> {
    const { opaque: attr } = this.#names
    const value = await this.#read(attr)
    if (value !== undefined && !this.#isDirectory)
      this.#add('opaque-on-file', 'is marked as an opaque directory, but is none', this.#removing(attr, 'the mark'))
    else if (value !== undefined && value !== 'y' && value !== 'x')
      this.#add(
        'opaque-malformed',
        `${attr} is ${JSON.stringify(value)}, which means nothing; y would make the directory opaque`,
        this.#removing(attr, 'the mark, so that the directory merges with the lowers as it does now'),
      )
    return value === 'y' && this.#isDirectory
  }

  async #redirect(): Promise<string | undefined> {
    const { redirect: attr, opaque, metacopy } = this.#names
    const value = await this.#read(attr)
    if (value === undefined) return undefined
    if (!this.#isDirectory && !this.#object.xattrs.has(metacopy)) {
      const what = 'has a redirect, which only directories and metadata-only files have'
      this.#add('redirect-on-file', what, this.#removing(attr, 'it'), 'warning')
      return undefined
    }
    if (!isWellFormed(value)) {
      const { dirFd, name } = this.#object
      const fix = async () => {
        await setXattr(dirFd, name, opaque, Buffer.from('y'))
        await removeXattr(dirFd, name, attr)
      }
      const repair = 'remove the redirect and mark the directory as opaque, so that it shows what the upper has of it'
      this.#add(
        'redirect-malformed',
        `its redirect ${JSON.stringify(value)} is neither a name nor an absolute path without . and .., so nobody can open it`,
        this.#isDirectory ? [repair, fix] : undefined,
      )
      return undefined
    }
    if (value.length > REDIRECT_MAX_BYTES)
      this.#add(
        'redirect-long',
        `its redirect has ${value.length} bytes; the kernel writes ${REDIRECT_MAX_BYTES} at most`,
        undefined,
        'warning',
      )
    return value
  }

  async #origin(): Promise<void> {
    const { origin, identity } = this.#names
    const handle = await this.#bytes(origin)
    // An empty one says that there is none to follow.
    if (handle !== undefined && handle.length > 0 && !originIsWellFormed(handle))
      this.#add(
        'origin-malformed',
        'its mark of origin is no encoded file handle, so its file id is not that of the lower',
        this.#removing(origin, 'the mark'),
      )
    const own = await this.#bytes(identity)
    if (own !== undefined && decodeIdentity(own) === undefined)
      this.#add('identity-malformed', 'its mark of identity cannot be read', this.#removing(identity, 'the mark'))
  }

  async #counts(): Promise<void> {
    const { nlink, links } = this.#names
    const saved = await this.#read(nlink)
    if (saved !== undefined && !/^[UL][+-]\d+$/.test(saved))
      this.#add(
        'nlink-malformed',
        `its saved link count ${JSON.stringify(saved)} is not of the form U+1 or L-1`,
        this.#removing(nlink, 'it, so that the count on disk is shown'),
      )
    const squashed = await this.#read(links)
    if (squashed !== undefined && !/^[1-9]\d*$/.test(squashed))
      this.#add(
        'links-malformed',
        `its saved link count ${JSON.stringify(squashed)} is no number`,
        this.#removing(links, 'it'),
      )
  }

  #add(code: string, what: string, mend: Report['mend'], severity: 'error' | 'warning' = 'error'): void {
    this.#findings.push(finding({ code, severity, where: 'upper', path: this.#object.path, what, mend }))
  }

  #removing(attr: string, what: string): NonNullable<Report['mend']> {
    return [`remove ${what}`, () => removeXattr(this.#object.dirFd, this.#object.name, attr)]
  }

  async #bytes(attr: string): Promise<Uint8Array | undefined> {
    const { xattrs, dirFd, name } = this.#object
    return xattrs.has(attr) ? await getXattr(dirFd, name, attr) : undefined
  }

  async #read(attr: string): Promise<string | undefined> {
    const value = await this.#bytes(attr)
    return value && Buffer.from(value).toString('latin1')
  }
}

function isWellFormed(redirect: string): boolean {
  const parts = redirect.startsWith('/') ? redirect.slice(1).split('/') : [redirect]
  return parts.every(
    (part) => part !== '' && part !== '.' && part !== '..' && !part.includes('/') && !part.includes('\0'),
  )
}
