import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The number of files in a directory. */
const PER_DIRECTORY = 20
/** The number of directories in a directory. */
const PER_GROUP = 50

/** Creates `files` small files in directories of two levels below `dir`; returns their paths. */
export function makeTree(dir: string, files: number): string[] {
  const paths: string[] = []
  for (let i = 0; i < files; i++) {
    const directory = Math.floor(i / PER_DIRECTORY)
    const group = `group-${String(Math.floor(directory / PER_GROUP)).padStart(3, '0')}`
    const path = join(group, `directory-${String(directory).padStart(5, '0')}`)
    if (i % PER_DIRECTORY === 0) mkdirSync(join(dir, path), { recursive: true })
    paths.push(join(path, `file-${String(i).padStart(6, '0')}`))
    writeFileSync(join(dir, paths.at(-1) as string), `content of file ${i}\n`)
  }
  return paths
}
