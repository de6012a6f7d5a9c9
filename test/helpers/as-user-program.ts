import { spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs'

const CALLS: Readonly<Record<string, (path: string, ...args: number[]) => unknown>> = {
  stat: (path) => lstatSync(path),
  list: (path) => readdirSync(path),
  read: (path) => closeSync(openSync(path, 'r')),
  append: (path) => closeSync(openSync(path, 'r+')),
  unlink: (path) => unlinkSync(path),
  rmdir: (path) => rmdirSync(path),
  symlink: (path) => symlinkSync('target', path),
  access: (path, mask) => accessSync(path, mask),
  chmod: (path, mode) => chmodSync(path, mode as number),
  chown: (path, uid, gid) => chownSync(path, uid as number, gid as number),
  mkdir: (path, mode) => mkdirSync(path, { mode: mode as number }),
  utimes: (path, sec) => utimesSync(path, sec as number, sec as number),
  truncate: (path, size) => truncateSync(path, size),
  create: (path, mode) => closeSync(openSync(path, 'wx', mode)),
  empty: (path) => closeSync(openSync(path, 'w')),
  write: (path, count) => {
    const fd = openSync(path, 'r+')
    try {
      writeSync(fd, Buffer.alloc(count as number, 0x77))
    } finally {
      closeSync(fd)
    }
  },
}

/** A program for what Node has no call for: `ok`, or the name of its error. */
function run(program: string, ...args: string[]): string {
  const { status, stderr } = spawnSync(program, args, { encoding: 'latin1', env: { ...process.env, LC_ALL: 'C' } })
  if (status === 0) return 'ok'
  if (stderr.includes('not permitted')) return 'EPERM'
  return stderr.includes('Permission denied') ? 'EACCES' : stderr
}

/** Calls with a second path. */
const PAIRS: Readonly<Record<string, (from: string, to: string) => unknown>> = {
  rename: (from, to) => renameSync(from, to),
}

const PROGRAMS: Readonly<Record<string, (path: string, ...args: string[]) => string>> = {
  setfacl: (path, ...args) => run('setfacl', ...args, '--', path),
  // With -h it sets the present time without opening the file.
  touch: (path) => run('touch', '-c', '-h', '--', path),
}

function answer([call, ...args]: [string, ...(string | number)[]]): string {
  const program = PROGRAMS[call]
  if (program) return program(...(args as [string, ...string[]]))
  try {
    const pair = PAIRS[call]
    if (pair) pair(...(args as [string, string]))
    else CALLS[call]?.(...(args as [string, ...number[]]))
    return 'ok'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

const { cred, steps } = JSON.parse(readFileSync(0, 'utf8')) as {
  cred: { uid: number; gid: number; groups: number[] }
  steps: [string, ...(string | number)[]][]
}
process.umask(0)
process.setgroups?.(cred.groups)
process.setgid?.(cred.gid)
process.setuid?.(cred.uid)
process.stdout.write(JSON.stringify(steps.map(answer)))
