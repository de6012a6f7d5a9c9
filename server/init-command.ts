import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type InitRequest, loadConfigReader } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { isFree } from './listeners.ts'
import { isThere } from './make-directory.ts'

/** Other users of this machine can reach the files only through the server. */
const PRIVATE = 0o700

/**
 * `overlayd init DIR`: writes a first configuration and its directories, and prints the command that serves it. Returns the exit status.
 *
 * @throws OptionError the directory already has a configuration, or cannot be written
 */
export async function initialize({ name, path }: InitRequest, print: (text: string) => void): Promise<number> {
  const { initialConfig, welcome } = await loadConfigReader()
  const text = initialConfig({
    webdav: (await isFree('127.0.0.1', 8080)) ? '127.0.0.1:8080' : '127.0.0.1:0',
    nfs: (await isFree('127.0.0.1', 2049)) ? '127.0.0.1:2049' : '127.0.0.1:0',
  })
  const material = join(path, 'material')
  try {
    await mkdir(path, { recursive: true, mode: PRIVATE })
    await writeFile(join(path, 'overlayd.toml'), text, { flag: 'wx', mode: 0o600 })
    if (!(await isThere(material))) {
      await mkdir(material)
      const file = join(material, 'welcome.txt')
      await writeFile(file, welcome, { flag: 'wx' })
      // What the users may do in their views. Only the server reaches the directory itself.
      await chmod(material, 0o777)
      await chmod(file, 0o666)
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST')
      throw new OptionError('init', `${name}/overlayd.toml exists already; choose another directory`)
    throw new OptionError('init', `${name} cannot be written to (${code ?? String(error)}); choose another directory`)
  }
  const file = join(name, 'overlayd.toml')
  print(
    `${file} is written: a course with a view for each user. Put its files into ${join(name, 'material')}. Next:\n  overlayd serve --config ${quoted(file)}\n`,
  )
  return 0
}

/** Quotes a word for a shell. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
