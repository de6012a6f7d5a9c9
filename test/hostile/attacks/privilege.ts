import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ADDRESSES } from '../addresses.ts'
import type { Arena } from '../arena.ts'
import type { Attack } from '../attack.ts'
import { http } from '../raw-http.ts'
import { startRefused, type Target } from '../target.ts'

const SETUID_OR_SETGID = 0o6000
const LOCAL_USER = 1000

/** A lower with programs of root that may do more than who runs them, and a secret. */
function rootsLower(arena: Arena): string {
  const lower = arena.folder('lower')
  for (const name of ['patched', 'ranged', 'put', 'copied-over', 'moved-over']) {
    writeFileSync(join(lower, name), '#!/bin/sh\nexit 0\n')
    chmodSync(join(lower, name), 0o6755)
  }
  writeFileSync(join(lower, 'capable'), '#!/bin/sh\nexit 0\n')
  chmodSync(join(lower, 'capable'), 0o755)
  execFileSync('setcap', ['cap_setuid+ep', join(lower, 'capable')])
  writeFileSync(join(lower, 'secret'), 'secret\n')
  chmodSync(join(lower, 'secret'), 0o600)
  writeFileSync(join(lower, 'mine'), '#!/bin/sh\nid\n')
  chmodSync(join(lower, 'mine'), 0o755)
  return lower
}

/** Replaces the content of all of them in every way there is. */
async function replaceAll(target: Target): Promise<void> {
  const port = target.webdavPort!
  const body = '#!/bin/sh\nid\n'
  const range = { 'content-range': 'bytes 0-4/18' }
  const partial = { 'content-type': 'application/x-sabredav-partialupdate', 'x-update-range': 'bytes=0-11' }
  await http(port, { method: 'PUT', path: '/overlay/put', body })
  await http(port, { method: 'PUT', path: '/overlay/capable', body })
  await http(port, { method: 'PUT', path: '/overlay/ranged', body: 'evil!', headers: range })
  await http(port, { method: 'PATCH', path: '/overlay/patched', body: '#!/bin/sh id', headers: partial })
  await http(port, { method: 'COPY', path: '/overlay/mine', headers: { destination: '/overlay/copied-over' } })
  await http(port, { method: 'MOVE', path: '/overlay/mine', headers: { destination: '/overlay/moved-over' } })
}

/** No file in the upper that a client has changed has any privilege of its own. */
function checkUpper(arena: Arena): void {
  const upper = arena.folder('upper')
  for (const name of ['put', 'patched', 'ranged', 'copied-over', 'moved-over', 'capable']) {
    const path = join(upper, name)
    if (!existsSync(path)) continue
    const { mode } = lstatSync(path)
    arena.check(`${name} has no setuid or setgid`, (mode & SETUID_OR_SETGID) === 0, (mode & 0o7777).toString(8))
    const { stdout } = spawnSync('getcap', [path], { encoding: 'utf8' })
    arena.check(`${name} has no capabilities`, stdout === '', stdout.trim())
  }
}

const setuidByPut: Attack = {
  name: 'setuid-replaced-by-put',
  by: 'local user',
  what: 'a server run by root without --as: any local user replaces the content of a setuid program, or reads what only root may',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(rootsLower(arena)) })
    await replaceAll(target)
    checkUpper(arena)
    const secret = await http(target.webdavPort!, { method: 'GET', path: '/overlay/secret' })
    arena.check('a file of mode 0600 is not shown', secret.status === 403, secret.status)
    const made = await http(target.webdavPort!, { method: 'PUT', path: '/overlay/made', body: 'x' })
    const owner = existsSync(join(arena.dir, 'upper/made')) ? lstatSync(join(arena.dir, 'upper/made')).uid : undefined
    arena.check('nothing is made in the name of root', owner !== 0, `${made.status}, owner ${owner}`)
    arena.check('the start says as whom WebDAV acts', await target.says(/nobody|65534/))
  },
}

const setuidAsRoot: Attack = {
  name: 'setuid-replaced-with-as-root',
  by: 'client',
  what: 'a server with --as 0:0: content is replaced by PUT, PATCH, Content-Range, COPY and MOVE, and setuid, setgid and capabilities have to go',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay(rootsLower(arena)), flags: ['--as', '0:0'] })
    await replaceAll(target)
    arena.check('the content was replaced', readFileSync(join(arena.dir, 'upper/put'), 'utf8').includes('id'))
    checkUpper(arena)
  },
}

const setuidByWrite: Attack = {
  name: 'setuid-kept-over-nfs-write',
  by: 'client',
  what: 'WRITE and SETATTR of the size of a setuid program by an ordinary user whom its mode lets write',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    for (const name of ['written', 'cut']) {
      writeFileSync(join(lower, name), '#!/bin/sh\n')
      chmodSync(join(lower, name), 0o6777)
    }
    const target = await arena.start({ overlay: arena.overlay(lower) })
    const nfs = await target.nfs(ADDRESSES.attacker, LOCAL_USER)
    const root = await nfs.mount()
    const written = await nfs.write(await nfs.walk(root, 'written'), 0, Buffer.from('#!/bin/sh\nid\n'))
    const cut = await nfs.setattr(await nfs.walk(root, 'cut'), { size: 3 })
    arena.check('both are allowed', written.status === 0 && cut.status === 0, `${written.status}, ${cut.status}`)
    for (const name of ['written', 'cut']) {
      const { mode } = lstatSync(join(arena.dir, 'upper', name))
      arena.check(`${name} has no setuid or setgid`, (mode & SETUID_OR_SETGID) === 0, (mode & 0o7777).toString(8))
    }
    await nfs.close()
  },
}

const defaultExport: Attack = {
  name: 'programs-through-the-default-export',
  by: 'local user',
  what: 'the default export of a server run by root lets a local user, who can claim to be anyone, make setuid programs in the upper',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    chmodSync(lower, 0o777)
    chmodSync(arena.folder('upper'), 0o777)
    const target = await arena.start({ overlay: arena.overlay(lower), exports: null })
    const nfs = await target.nfs('127.0.0.1', 6)
    const { status, handle } = await nfs.mnt('/overlay')
    let made: number | undefined
    if (status === 0) made = (await nfs.create(handle, 'program', { mode: 'unchecked', attr: { mode: 0o4755 } })).status
    arena.check('no program of another user is made from an ordinary port', made !== 0, `MNT ${status}, CREATE ${made}`)
    await nfs.close()
    const privileged = await target.nfs('127.0.0.1', 0, 906)
    const mounted = await privileged.mnt('/overlay')
    arena.check('root of this machine still mounts', mounted.status === 0, mounted.status)
    await privileged.close()
  },
}

const searchableUpper: Attack = {
  name: 'searchable-upper',
  by: 'local user',
  what: 'a local user runs what lies in the upper past the server',
  quick: true,
  async run(arena) {
    const target = await arena.start({ overlay: arena.overlay() })
    writeFileSync(join(arena.dir, 'upper/program'), '#!/bin/sh\nexit 0\n')
    chmodSync(join(arena.dir, 'upper/program'), 0o755)
    const { status } = spawnSync(join(arena.dir, 'upper/program'), { uid: LOCAL_USER, gid: LOCAL_USER })
    const said = await target.says(/other users of this machine can enter upperdir/)
    arena.check('the upper is not searchable, or a warning says so', status === null || said, `status ${status}`)
    const sample = spawnSync('sh', ['-c', 'stat -c %a "$1"', 'sh', join(arena.dir, 'state')], { encoding: 'utf8' })
    arena.check('the state directory is for its owner only', sample.stdout.trim() === '700', sample.stdout.trim())
  },
}

/** What must not lie inside of what clients see. */
const stateInLayer: Attack = {
  name: 'state-inside-a-layer',
  by: 'client',
  what: 'the state directory, or another layer, lies inside of a layer, so that clients read the key of handles and reach the admin socket',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    const refuse = async (what: string, overlay: string, stateDir?: string) => {
      const { status, stderr } = await startRefused(arena.dir, { overlay, ...(stateDir && { stateDir }) })
      arena.check(`${what} is refused`, status === 2, `${status}: ${stderr.slice(0, 150)}`)
    }
    await refuse('a state directory inside a lower', arena.overlay(lower), join(lower, 'lib/state'))
    arena.folder('upper')
    await refuse('a state directory inside the upper', arena.overlay(lower), arena.folder('upper/state'))
    execFileSync('ln', ['-s', lower, join(arena.dir, 'link')])
    await refuse('a state directory behind a symlink into a lower', arena.overlay(lower), join(arena.dir, 'link/state'))
    mkdirSync(join(lower, 'u'))
    mkdirSync(join(lower, 'w'))
    await refuse('an upper inside a lower', `lowerdir=${lower},upperdir=${lower}/u,workdir=${lower}/w`)
    const upper = arena.folder('other/upper')
    await refuse('a workdir inside the upper', `lowerdir=${lower},upperdir=${upper},workdir=${upper}/w`)
    const bind = arena.folder('bound')
    execFileSync('mount', ['--bind', lower, bind])
    arena.defer(() => execFileSync('umount', [bind]))
    await refuse('a state directory inside a lower by another mount', arena.overlay(lower), join(bind, 'state'))
  },
}

const mntBelow: Attack = {
  name: 'mnt-below-0700',
  by: 'client',
  what: 'MNT of paths below a directory of mode 0700 by somebody else: tells names, and gives handles',
  quick: true,
  async run(arena) {
    const lower = arena.folder('lower')
    mkdirSync(join(lower, 'private/inner/deep'), { recursive: true })
    chmodSync(join(lower, 'private'), 0o700)
    mkdirSync(join(lower, 'own'))
    chownSync(join(lower, 'own'), LOCAL_USER, LOCAL_USER)
    const target = await arena.start({ overlay: arena.overlay(lower) })
    for (const uid of [LOCAL_USER, 0, 65534]) {
      const nfs = await target.nfs(ADDRESSES.attacker, uid)
      const inner = await nfs.mnt('/overlay/private/inner')
      const absent = await nfs.mnt('/overlay/private/absent')
      arena.check('no handle below it', inner.status !== 0, `uid ${uid}: ${inner.status}`)
      arena.check(
        'names below it are not told',
        inner.status === absent.status,
        `uid ${uid}: ${inner.status}, ${absent.status}`,
      )
      arena.check('other paths are mounted', (await nfs.mnt('/overlay/own')).status === 0)
      await nfs.close()
    }
  },
}

export const PRIVILEGE: readonly Attack[] = [
  setuidByPut,
  setuidAsRoot,
  setuidByWrite,
  defaultExport,
  searchableUpper,
  stateInLayer,
  mntBelow,
]
