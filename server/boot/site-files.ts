import { lstat, readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { OptionError } from '../../overlay-core/index.ts'
import type { SeedFile } from './seed-files.ts'

const MOST_FILES = 1000
const MOST_BYTES = 4 * 1024 * 1024
const TEMPLATE = '.template'

/** What templates may name. Each value is checked: no sign in it means anything in a shell, a configuration file or XML. */
export type TemplateValues = Readonly<
  Record<'name' | 'mac' | 'uuid' | 'serial' | 'address' | 'server' | 'view', string | undefined>
>

/**
 * The files of a directory of the admin, which become files of the view. Symlinks and special files are left out. @throws OptionError naming `files`
 */
export async function siteFiles(directory: string, values: TemplateValues): Promise<SeedFile[]> {
  const files: SeedFile[] = []
  let bytes = 0
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }).catch((error) => {
    throw refusal(directory, `cannot be read (${(error as NodeJS.ErrnoException).code})`)
  })) {
    if (!entry.isFile()) continue
    if (files.length >= MOST_FILES) throw refusal(directory, `has more than ${MOST_FILES} files`)
    const own = join(entry.parentPath, entry.name)
    const { mode, size } = await lstat(own)
    bytes += size
    if (bytes > MOST_BYTES)
      throw refusal(directory, `has more than ${MOST_BYTES} bytes; put large files into the image`)
    const content = await readFile(own)
    const path = `/${relative(directory, own)}`
    if (!path.endsWith(TEMPLATE)) files.push({ path, content, mode: mode & 0o777 })
    else
      files.push({
        path: path.slice(0, -TEMPLATE.length),
        content: Buffer.from(render(content.toString('utf8'), values, own)),
        mode: mode & 0o777,
      })
  }
  return files
}

/** Replaces `{{name}}` and the like. What is put in is not read again. @throws OptionError a word is not known */
export function render(text: string, values: TemplateValues, file: string): string {
  return text.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (_all, word: string) => {
    if (!Object.hasOwn(values, word))
      throw refusal(file, `names {{${word.slice(0, 40)}}}; the words are ${Object.keys(values).join(', ')}`)
    return values[word as keyof TemplateValues] ?? ''
  })
}

function refusal(path: string, text: string): OptionError {
  return new OptionError('files', `${path} ${text}`)
}
