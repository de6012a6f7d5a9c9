import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { OptionError } from '../../overlay-core/index.ts'

/** A PEM file with a chain of a hundred large certificates is smaller. */
const MOST_BYTES = 1024 * 1024
const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g

/** Reads a PEM file that `option` names. @throws OptionError it cannot be read, or is too large */
export async function readPem(option: string, path: string): Promise<string> {
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    const mend =
      code === 'ENOENT' ? 'name an existing file' : 'let the user that runs the server read it, or name another file'
    throw new OptionError(option, `cannot read ${path} (${code}); ${mend}`)
  }
  if (bytes.length > MOST_BYTES)
    throw new OptionError(option, `${path} is larger than 1 MiB, so it is no certificate or key; name another file`)
  return bytes.toString('latin1')
}

/** The certificates in a PEM text, in its order. @throws OptionError there is none, or one is damaged */
export function certificatesIn(option: string, path: string, text: string): X509Certificate[] {
  const blocks = text.match(CERTIFICATE) ?? []
  const begun = text.match(/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/g)?.length ?? 0
  if (begun > blocks.length)
    throw new OptionError(option, `${path} ends in the middle of a certificate; copy the whole file again`)
  if (blocks.length === 0)
    throw new OptionError(
      option,
      `${path} contains no certificate in PEM form (-----BEGIN CERTIFICATE-----); name the right file, or convert it with openssl x509 -inform der`,
    )
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block)
    } catch {
      throw new OptionError(
        option,
        `certificate ${i + 1} in ${path} is damaged or cut; copy the file again from where it was issued`,
      )
    }
  })
}

/** The private key in a PEM text. @throws OptionError there is none, or it needs a passphrase */
export function privateKeyIn(option: string, path: string, text: string): KeyObject {
  if (!/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text))
    throw new OptionError(
      option,
      `${path} contains no private key in PEM form (-----BEGIN PRIVATE KEY-----); name the file of the key after the comma`,
    )
  try {
    return createPrivateKey(text)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ERR_MISSING_PASSPHRASE' || /ENCRYPTED/.test(text))
      throw new OptionError(
        option,
        `the private key in ${path} is encrypted; decrypt it with openssl pkey -in ${path} -out NEW.pem, and protect the new file with chmod 600`,
      )
    throw new OptionError(option, `the private key in ${path} is damaged or cut; copy the file again`)
  }
}

/** Refuses a certificate outside its validity. @throws OptionError */
export function refuseOutOfDate(option: string, path: string, certificate: X509Certificate, nowMs: number): void {
  const { validFromDate, validToDate } = certificate
  if (validToDate.getTime() <= nowMs)
    throw new OptionError(option, `the certificate in ${path} expired on ${day(validToDate)}; replace it by a new one`)
  if (validFromDate.getTime() > nowMs)
    throw new OptionError(
      option,
      `the certificate in ${path} is valid only from ${day(validFromDate)}; check the clock of this machine, or replace it`,
    )
}

/** A date as YYYY-MM-DD. */
export function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}
