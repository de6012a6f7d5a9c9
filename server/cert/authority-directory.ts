import { X509Certificate } from 'node:crypto'
import { open, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OptionError } from '../../overlay-core/index.ts'
import { makeDirectory } from '../make-directory.ts'
import { isRunning } from '../running-process.ts'
import { certificatesIn, privateKeyIn } from '../tls/read-pem.ts'
import { replaceFile, sync } from '../whole-file.ts'
import { type Authority, type Issued, openAuthority } from './certificates.ts'

const CERTIFICATE = 'ca.pem'
const KEY = 'ca.key'
const LIST = 'revoked.pem'
const ISSUED = 'issued'
const LOCK = 'lock'

/**
 * The directory of an authority: `ca.pem` and `ca.key`, the list of revoked certificates `revoked.pem`, and each issued certificate as `issued/SERIAL.pem`. There is no index
 * that could differ from that. Each file appears complete or not at all, so a crash leaves what was there before.
 */
export class AuthorityDirectory {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Writes a new authority with an empty list. @throws OptionError there is one already, or the directory cannot be written to */
  async create({ cert, key }: Issued, makeList: (authority: Authority) => Promise<string>): Promise<void> {
    await this.#writing(async () => {
      await makeDirectory(join(this.path, ISSUED))
      if ((await this.#read(CERTIFICATE)) !== undefined)
        throw new OptionError('cert', `${this.path} has an authority already; choose another directory`)
      const authority = await openAuthority(cert, privateKeyIn('cert', KEY, key))
      await this.#write(KEY, key, 0o600)
      await this.#write(LIST, await makeList(authority))
      // Its certificate makes it an authority.
      await this.#write(CERTIFICATE, cert)
    })
  }

  /** The authority. @throws OptionError there is none, or a file is damaged */
  async authority(): Promise<Authority> {
    const [cert, key] = await Promise.all([this.#read(CERTIFICATE), this.#read(KEY)])
    if (cert === undefined || key === undefined)
      throw new OptionError('cert', `${this.path} has no authority; make one with overlayd cert ca ${this.path}`)
    certificatesIn('cert', join(this.path, CERTIFICATE), cert)
    return await openAuthority(cert, privateKeyIn('cert', join(this.path, KEY), key))
  }

  /** All issued certificates, as they were found. @throws OptionError one is damaged */
  async issued(): Promise<X509Certificate[]> {
    const names = (await this.#names(ISSUED)).filter((name) => name.endsWith('.pem'))
    const texts = await Promise.all(names.map((name) => readFile(join(this.path, ISSUED, name), 'latin1')))
    return texts.map((text, i) => {
      try {
        return new X509Certificate(text)
      } catch {
        throw new OptionError(
          'cert',
          `${join(this.path, ISSUED, names[i] as string)} is damaged; restore it, or delete it`,
        )
      }
    })
  }

  /** The list of revoked certificates, in PEM form. */
  async list(): Promise<string> {
    return (await this.#read(LIST)) ?? ''
  }

  /** Records a certificate before it is given away, so that it can always be revoked. */
  async record({ serial, cert }: Issued): Promise<void> {
    await this.#writing(() => this.#write(join(ISSUED, `${serial}.pem`), cert))
  }

  /** Replaces the list by what `change` makes of it. No other command changes it meanwhile. */
  async changeList(change: (present: string) => Promise<string>): Promise<void> {
    await this.#writing(async () => {
      await this.#lock()
      try {
        await this.#write(LIST, await change(await this.list()))
      } finally {
        await rm(join(this.path, LOCK), { force: true })
      }
    })
  }

  /** Writes the certificate and key of somebody into `directory`; returns their paths. */
  async giveAway(directory: string, name: string, { cert, key }: Issued): Promise<{ cert: string; key: string }> {
    const [certPath, keyPath] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)]
    await this.#writing(async () => {
      await makeDirectory(directory)
      await writeLasting(keyPath, key, 0o600)
      await writeLasting(certPath, cert, 0o644)
    })
    return { cert: certPath, key: keyPath }
  }

  async #read(name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.path, name), 'latin1')
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
      throw new OptionError('cert', `cannot read ${join(this.path, name)} (${code}); run the command as its owner`)
    }
  }

  async #names(folder: string): Promise<string[]> {
    try {
      return await readdir(join(this.path, folder))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  #write(name: string, text: string, mode = 0o644): Promise<void> {
    return writeLasting(join(this.path, name), text, mode)
  }

  /** Keeps out a second command that changes the list. The lock of a process that has died does not count. */
  async #lock(): Promise<void> {
    const path = join(this.path, LOCK)
    for (let tried = 0; ; tried++) {
      try {
        const file = await open(path, 'wx', 0o600)
        await file.writeFile(String(process.pid))
        return await file.close()
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        const holder = Number(await readFile(path, 'latin1').catch(() => ''))
        if (tried > 0 || (holder > 0 && isRunning(holder)))
          throw new OptionError('cert', `process ${holder} is changing ${this.path}; try again`)
        await rm(path, { force: true })
      }
    }
  }

  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (error instanceof OptionError) throw error
      const { code = String(error) } = error as NodeJS.ErrnoException
      throw new OptionError('cert', `cannot write to ${this.path} (${code}); choose another directory, or free space`)
    }
  }
}

/** Writes a file that is there completely or not at all, also after a power loss. */
async function writeLasting(path: string, text: string, mode: number): Promise<void> {
  await replaceFile(path, text, mode)
  await sync(dirname(path))
}
