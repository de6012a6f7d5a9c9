import { spawnSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeSync,
} from 'node:fs'

const CALLS: Readonly<Record<string, (path: string, ...args: number[]) => unknown>> = {
  access: (path, mask) => accessSync(path, mask),
  chmod: (path, mode) => chmodSync(path, mode as number),
  chown: (path, uid, gid) => chownSync(path, uid as number, gid as number),
  mkdir: (path, mode) => mkdirSync(path, { mode: mode as number }),
  touch: (path) => utimesSync(path, new Date(), new Date()),
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

/** setfacl(1), as there is no call for it in Node: `ok`, or the name of its error. */
function setfacl(path: string, ...args: string[]): string {
  const { status, stderr } = spawnSync('setfacl', [...args, '--', path], { encoding: 'latin1' })
  if (status === 0) return 'ok'
  return stderr.includes('not permitted') ? 'EPERM' : stderr
}

function answer([call, ...args]: [string, ...(string | number)[]]): string {
  if (call === 'setfacl') return setfacl(...(args as [string, ...string[]]))
  try {
    CALLS[call]?.(...(args as [string, ...number[]]))
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
