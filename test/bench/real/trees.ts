import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../nfs/processes.ts'
import { SERVED_AS } from '../webdav/tree.ts'

/** Larger ones are programs, not the many small files that this is about. */
const MOST_BYTES = 256 * 1024
/** Sources of the program that is made. */
const UNITS = 8
const installed = fileURLToPath(new URL('../../../node_modules/', import.meta.url))

/**
 * Makes what the workloads need: `folder/home` has the sources that come from elsewhere, `folder/lower` the lower of all servers and
 * `folder/upper-of-all` what each upper has at first, both with a `round-N` for each round. All belong to the user that WebDAV is served as.
 */
export async function makeTrees(folder: string, rounds: number, files: number): Promise<void> {
  const home = join(folder, 'home')
  const one = join(folder, 'one')
  for (const directory of [join(home, 'packages'), join(one, 'source')]) await mkdir(directory, { recursive: true })
  await copyPackages(join(one, 'files'), join(home, 'packages'), files)
  await writeSource(join(one, 'source'))
  await bash(`
    export HOME=${home} GIT_CONFIG_GLOBAL=${home}/.gitconfig GIT_CONFIG_NOSYSTEM=1
    printf '[safe]\\n\\tdirectory = *\\n[user]\\n\\tname = bench\\n\\temail = bench@localhost\\n' > ${home}/.gitconfig
    tar cf ${home}/files.tar -C ${one}/files .
    cp -a ${one}/files ${folder}/checkout
    cd ${folder}/checkout && git init -q . && git add . && git commit -q -m 'All files' && git clone -q --bare . ${home}/repository
    rm -rf ${folder}/checkout
    cd ${one}
    cp -a ${home}/repository repository
    cp -a files modes
    cp -a files overwritten
    mkdir -p project/node_modules
    for package in ${home}/packages/*.tgz; do
      name=$(basename "$package" .tgz)
      mkdir project/node_modules/$name && tar xzf $package -C project/node_modules/$name
    done
    chown -R ${SERVED_AS}:${SERVED_AS} ${one}
    mkdir ${folder}/lower ${folder}/upper-of-all
    for round in $(seq 0 ${rounds}); do
      cp -a ${one} ${folder}/lower/lower-$round
      cp -a ${one} ${folder}/upper-of-all/upper-$round
      rm -rf ${folder}/upper-of-all/upper-$round/{repository,overwritten}
    done
    rm -rf ${one}
    chown ${SERVED_AS}:${SERVED_AS} ${folder}/lower ${folder}/upper-of-all`)
}

async function bash(script: string): Promise<void> {
  await run('bash', ['-euo', 'pipefail', '-c', script])
}

/** Copies installed packages with small files to `to`, about `files` of them in the whole, and packs a third of them, each one by itself. */
async function copyPackages(to: string, packed: string, files: number): Promise<void> {
  await mkdir(to)
  let [copied, inArchives] = [0, 0]
  for (const name of (await readdir(installed)).sort()) {
    if (name.startsWith('.') || name.startsWith('@')) continue
    const found = await smallFilesOf(join(installed, name))
    if (found.length === 0 || copied + found.length > files) continue
    copied += found.length
    await run('bash', [
      '-euo',
      'pipefail',
      '-c',
      `cd "$1" && mkdir "$2" && printf '%s\\n' "\${@:3}" | cpio -pdm --quiet "$2"`,
      'copy',
      join(installed, name),
      join(to, name),
      ...found,
    ])
    if (inArchives + found.length > files / 3) continue
    inArchives += found.length
    await run('tar', ['czf', join(packed, `${name}.tgz`), '-C', join(to, name), '.'])
  }
  if (copied < files / 2) throw new Error(`--files: the installed packages have ${copied} small files only`)
}

async function smallFilesOf(directory: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && (await stat(path)).size <= MOST_BYTES) found.push(path.slice(directory.length + 1))
  }
  return found
}

/** A program in C of `UNITS` sources, with a header for each. */
async function writeSource(directory: string): Promise<void> {
  const units = Array.from({ length: UNITS }, (_, i) => `unit${i}`)
  for (const [i, unit] of units.entries()) {
    const others = units.slice(i + 1, i + 6)
    await writeFile(join(directory, `${unit}.h`), `int ${unit}(int n);\n`)
    const sum = ['n', ...others.map((other) => `${other}(n + 1)`)].join(' + ')
    const includes = others.map((other) => `#include "${other}.h"\n`).join('')
    await writeFile(
      join(directory, `${unit}.c`),
      `#include <stdio.h>\n${includes}int ${unit}(int n) { return ${sum}; }\n`,
    )
  }
  await writeFile(
    join(directory, 'main.c'),
    '#include <stdio.h>\n#include "unit0.h"\nint main(void) { return printf("%d\\n", unit0(1)) < 0; }\n',
  )
  const objects = ['main', ...units].map((unit) => `${unit}.o`).join(' ')
  await writeFile(
    join(directory, 'Makefile'),
    `CC = tcc\nprogram: ${objects}\n\t$(CC) -o $@ ${objects}\n%.o: %.c\n\t$(CC) -c -o $@ $<\n`,
  )
}
