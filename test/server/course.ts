import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Client } from 'undici'
import { NfsClient } from '../helpers/nfs-client.ts'
import { type Running, start } from './launch.ts'

/** Users that every Debian has. */
export const DAEMON = { uid: 1, gid: 1 }
export const BIN = { uid: 2, gid: 2 }

/** The options of tests that need users other than that of the server. */
export const AS_ROOT = { skip: process.geteuid?.() !== 0 && 'only root can act for several users' }

/** A running server with the template `course`, and clients of it. */
export interface Course {
  readonly dir: string
  readonly server: Running
  readonly nfs: NfsClient
  /** Sends a WebDAV request with `path` as it is. */
  dav(
    method: string,
    path: string,
    options?: { readonly body?: string; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<DavAnswer>
}

export interface DavAnswer {
  readonly status: number
  readonly body: string
  readonly headers: Record<string, string | string[] | undefined>
}

/** How a course differs from the usual one. */
export interface CourseOptions {
  /** The directory of an earlier server, which serves its configuration again. */
  readonly dir?: string
  /** Further lines of the template; it makes views on demand by default. */
  readonly more?: string
  readonly kind?: 'shared' | 'per-user' | 'per-machine' | 'ephemeral'
  /** The directory of its only layer. */
  readonly material?: string
  /** Whether the template says that its views are in the directory `views`. */
  readonly inDirectory?: boolean
  /** The clients of the NFS export. */
  readonly clients?: string
  /** The user that WebDAV acts as. */
  readonly as?: string
  /** Where NFS listens, if not on a free port. */
  readonly nfsListen?: string
  /** Further lines of the table webdav. */
  readonly webdav?: string
  /** Further tables. */
  readonly tables?: string
  /** Adds to the directory before the server starts. */
  readonly prepare?: (dir: string) => void
}

/** Starts a server of a template over a little material. It needs root, as the users of the views need it. */
export async function course(t: Test, options: CourseOptions = {}): Promise<Course> {
  const material = { 'welcome.txt': 'welcome', sub: { 'a.txt': 'A' } }
  const dir = options.dir ?? t.testdir({ material, 'o.toml': configuration(options) })
  // The modes of the material are what the users of views may do.
  execFileSync('chmod', ['-R', 'a+rwX', join(dir, 'material')])
  options.prepare?.(dir)
  if (options.nfsListen !== undefined) writeFileSync(join(dir, 'o.toml'), configuration(options))
  const server = await start(t, ['serve', '--config', join(dir, 'o.toml')])
  const nfs = await NfsClient.connect(server.nfsPort as number)
  t.teardown(() => nfs.close())
  const client = server.webdavUrl === undefined ? undefined : new Client(new URL(server.webdavUrl).origin)
  t.teardown(() => client?.destroy())
  const dav: Course['dav'] = async (method, path, { body, headers } = {}) => {
    const asked = { method: method as 'GET', path, body: body ?? null, headers: { ...headers } }
    const answer = await client!.request(asked)
    return { status: answer.statusCode, body: await answer.body.text(), headers: answer.headers }
  }
  return { dir, server, nfs, dav }
}

/** The text of the configuration of a course. */
export function configuration({
  more = 'create = true',
  kind = 'per-user',
  material = 'material',
  inDirectory = true,
  clients,
  as,
  webdav = '',
  tables = '',
  nfsListen = '127.0.0.1:0',
}: CourseOptions): string {
  const web = `[exports.web]\nview = "course"\ndoor = "webdav"\n${as === undefined ? '' : `as = "${as}"\n`}`
  return `
[layers.material]
path = "${material}"
[stacks.course]
layers = ["material"]
[views.course]
stack = "course"
upper = "${kind}"
${inDirectory ? 'directory = "views"' : ''}
${more}
[exports.nfs]
view = "course"
door = "nfs"
clients = ["${clients ?? '127.0.0.0/8(rw,root_squash,insecure)'}"]
${web}
[webdav]
listen = "127.0.0.1:0"
${webdav}
[nfs]
listen = "${nfsListen}"
[server]
state_dir = "state"
${tables}
`
}
