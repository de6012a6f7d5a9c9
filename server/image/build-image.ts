import { lstat, mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { ImageSource } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import { runProgram } from './run-program.ts'

/** Makes an image beside its place, and puts it there in one step. Nothing is left after an error. @throws OptionError */
export async function buildImage(directory: string, from: ImageSource, tell: (text: string) => void): Promise<void> {
  if (process.geteuid?.() !== 0)
    throw new OptionError('image build', 'needs root, because the files of an image have many owners; run it as root')
  if (await isThere(directory))
    throw new OptionError('image build', `${directory} exists already; choose another directory, or remove it`)
  const making = `${directory}.making`
  await rm(making, { recursive: true, force: true })
  await mkdir(dirname(directory), { recursive: true })
  try {
    await fill(making, from, tell)
    await rename(making, directory)
  } catch (error) {
    await rm(making, { recursive: true, force: true })
    throw error
  }
}

async function fill(making: string, from: ImageSource, tell: (text: string) => void): Promise<void> {
  if (from.kind === 'debootstrap') return await debootstrap(making, from, tell)
  const source = await stat(from.path).catch(() => {
    throw new OptionError('--from', `${from.path} does not exist; name a directory or a tar file`)
  })
  if (source.isDirectory()) {
    tell(`copies ${from.path}`)
    return await run('cp', ['-a', '--reflink=auto', '--', from.path, making], () => undefined)
  }
  tell(`unpacks ${from.path}`)
  await mkdir(making, { mode: 0o755 })
  const how = ['--numeric-owner', '--xattrs', '--xattrs-include=*', '--acls', '-p']
  await run('tar', [...how, '-x', '-f', from.path, '-C', making], () => undefined)
}

async function debootstrap(
  making: string,
  { suite, packages, mirror, cache }: Extract<ImageSource, { kind: 'debootstrap' }>,
  tell: (text: string) => void,
): Promise<void> {
  const keep = cache === undefined ? [] : [`--cache-dir=${cache}`]
  if (cache !== undefined) await mkdir(cache, { recursive: true })
  const words = ['--variant=minbase', ...keep, `--include=${packages.join(',')}`, suite, making, mirror]
  await run('debootstrap', words, (line) => tell(line.replace(/^[IPW]: /, '')))
}

async function run(program: string, args: readonly string[], take: (line: string) => void): Promise<void> {
  const ended = await runProgram(program, args, take)
  if (ended === undefined)
    throw new OptionError('image build', `needs ${program}; install it (apt-get install ${program})`)
  if (ended.status !== 0) {
    const last = ended.errors.trim().split('\n').at(-1) ?? ''
    throw new OptionError(
      'image build',
      `${program} failed: ${last || `it ended with ${ended.status}`}; correct that and try again`,
    )
  }
}

async function isThere(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  )
}
