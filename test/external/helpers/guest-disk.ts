import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const top = fileURLToPath(new URL('../../..', import.meta.url))
/** The folders of sources that run in the guest. */
const SOURCES = ['overlay-core', 'protocols', 'server', 'config', 'test/helpers']
/** What the server asks for users. */
const PROGRAMS = ['/usr/bin/getent', '/usr/bin/id']

/**
 * Puts into the empty folder `root` what a kernel client needs as its root to run overlayd: Node, the C library, this checkout as JavaScript below /overlayd, the packages it
 * uses, and the given files. So nothing is compiled there, which takes long in emulation.
 */
export function fillGuestRoot(root: string, files: Readonly<Record<string, string>>): void {
  for (const name of ['bin', 'dev', 'proc', 'sys', 'tmp', 'etc']) mkdirSync(join(root, name))
  copyProgram(process.execPath, root, '/bin/node')
  for (const program of PROGRAMS) copyProgram(program, root, program)
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n')
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost\n')
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files\n')
  const program = join(root, 'overlayd')
  for (const folder of SOURCES) copySources(folder, join(program, 'dist'))
  copyFile('server/overlayd.cjs', program)
  copyFile('package.json', program)
  const packages = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: top, encoding: 'utf8' })
  for (const path of packages.trim().split('\n').slice(1)) {
    const name = relative(top, path)
    // The Node is /bin/node.
    if (/^node_modules\/node([-/]|$)/.test(name)) continue
    cpSync(path, join(program, name), {
      recursive: true,
      filter: (from) => !relative(path, from).startsWith('node_modules'),
    })
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
}

function copyFile(name: string, into: string): void {
  mkdirSync(dirname(join(into, name)), { recursive: true })
  copyFileSync(join(top, name), join(into, name))
}

/** Copies a program and the libraries that it needs. */
function copyProgram(from: string, root: string, to: string): void {
  const libraries = execFileSync('ldd', [from], { encoding: 'utf8' }).match(/\/[^ )]+(?= \()/g) ?? []
  for (const [path, place] of [[from, to], ...libraries.map((library) => [library, library])] as [string, string][]) {
    mkdirSync(dirname(join(root, place)), { recursive: true })
    copyFileSync(path, join(root, place))
  }
}

/** Copies the files of a folder, TypeScript as JavaScript. */
function copySources(folder: string, into: string): void {
  for (const name of readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name)
    if (statSync(join(top, path)).isDirectory()) continue
    if (!path.endsWith('.ts')) copyFile(path, into)
    else {
      const code = stripTypeScriptTypes(readFileSync(join(top, path), 'utf8'))
      const target = join(into, path.replace(/\.ts$/, '.js'))
      mkdirSync(dirname(target), { recursive: true })
      writeFileSync(target, code.replace(/(['"])(\.{1,2}\/[^'"\n]+)\.ts\1/g, '$1$2.js$1'))
    }
  }
}
