import { join } from 'node:path'
import t from 'tap'
import { mountDavfs } from './helpers/davfs.ts'
import { mountKernelOverlay } from './helpers/kernel-overlay.ts'
import { makeLayers, watchLowers } from './helpers/layers.ts'
import { startOverlayd } from './helpers/overlayd.ts'
import { makeScratch } from './helpers/scratch.ts'
import { hostShell, quote } from './helpers/shell.ts'
import { davFields, davTree, differences, insidesShown, snapshot } from './helpers/snapshot.ts'

t.setTimeout(1_200_000)
const scratch = makeScratch(t)
const layers = await makeLayers(scratch, 'layers', { names: 'utf8' })
await scratch.sh(`
  mkdir outside && cd outside && (cd ${quote(layers.lowerdir[1])} && find tree -type f | sort | sed -n 1,300p) > names
  tar cf tree.tar -C ${quote(layers.lowerdir[1])} -T names
  head -c 50000000 /dev/urandom > big
  git init -q -b main project && cd project && git config user.name Tester && git config user.email tester@example.org
  for n in 1 2 3; do seq 1 "\${n}000" > "file-$n"; mkdir "dir-$n"; echo "$n" > "dir-$n/file"; git add . && git commit -q -m "change $n"; done`)
const outside = join(scratch.path, 'outside')
const lowersChanged = await watchLowers(scratch, layers)
const lowersOnly = await mountKernelOverlay(scratch, 'lowers', { lowerdir: layers.lowerdir })
const overlayd = await startOverlayd(scratch, layers)
const davfs = await mountDavfs(scratch, 'davfs', overlayd.webdavUrl)
const sh = hostShell(davfs.path)

/** Runs a script on the mount; then mounts anew, so that what follows comes from the server. */
async function onMount(script: string): Promise<void> {
  await sh(script, 300_000)
  await davfs.remount()
}

t.test('every name, size and content of the lowers shows on the mount', async (t) => {
  const expected = await snapshot(scratch.sh, lowersOnly.path)
  const seen = await snapshot(scratch.sh, davfs.path)
  t.same(differences(davTree(expected), davTree(seen, expected), davFields), [])
  t.same(insidesShown(seen), [])
  await lowersOnly.unmount()
})

t.test('a symlink shows as what it leads to inside the tree', async (t) => {
  t.equal(
    await sh('cat links/relative; ls links links/directory'),
    [
      'first line',
      ...['links:', 'a', 'b', 'directory', 'pair-1', 'pair-2', 'relative', ''],
      ...['links/directory:', 'below', 'both', 'only-base', 'only-top', ''],
    ].join('\n'),
  )
  await onMount('echo through >> links/relative; rm -r links/directory/below')
  t.equal(await sh('tail -n 1 plain/text; ls merged'), 'through\nboth\nonly-base\nonly-top\n')
  t.equal(
    await scratch.sh(`readlink ${quote(layers.lowerdir[1])}/links/relative; ls ${quote(layers.upperdir)}`),
    '../plain/text\nmerged\nplain\n',
  )
})

t.test('files are created, appended to and overwritten', async (t) => {
  await onMount(`echo one > new && echo two >> new && : > nothing
    echo over > plain/text; echo more >> top-file; echo three >> merged/only-base`)
  t.equal(await sh('cat new plain/text top-file merged/only-base'), 'one\ntwo\nover\nonly in top\nmore\nbase\nthree\n')
  t.equal(await sh('stat -c %s nothing'), '0\n')
  await onMount('echo four >> new; truncate -s 4 plain/text')
  t.equal(await sh('cat new plain/text'), 'one\ntwo\nfour\nover')
})

t.test('an append in the second of the creation is not lost', async (t) => {
  await sh('for n in $(seq 1 20); do echo a > "quick-$n"; echo b >> "quick-$n"; done')
  await davfs.remount()
  t.equal(await sh('cat quick-* | sort | uniq -c | tr -s " "'), ' 20 a\n 20 b\n')
})

t.test('a rename replaces a file, new or of a lower', async (t) => {
  await onMount(`echo from > from; echo to > to; mv from to
    mv plain/numbers plain/empty; echo new > n; mv n plain/c; mv merged/both merged/only-top`)
  t.equal(await sh('cat to; tail -n 1 plain/empty; cat plain/c merged/only-top'), 'from\n20000\nnew\ntop\n')
  t.equal(await sh('ls -d from n plain/numbers merged/both 2>/dev/null || :'), '')
})

t.test('directories are made, renamed and removed, those of the lowers too', async (t) => {
  await onMount(`mkdir d d/e d/e/f; rmdir d/e/f; if rmdir d 2> /dev/null; then exit 1; fi
    mv merged moved; mkdir merged; echo fresh > merged/fresh
    mv deep/1/2 deep/two; rm -r opaque; mkdir opaque; rm -r many/entry-000*
    rm plain/random; rmdir modes/setgid`)
  t.equal(
    await sh('find d merged moved opaque deep | sort'),
    [
      ...['d', 'd/e', 'deep', 'deep/1', 'deep/two'],
      ...['3', '3/4', '3/4/5', '3/4/5/6', '3/4/5/6/7', '3/4/5/6/7/8', '3/4/5/6/7/8/9', '3/4/5/6/7/8/9/file'].map(
        (path) => `deep/two/${path}`,
      ),
      ...['merged', 'merged/fresh', 'moved', 'moved/only-base', 'moved/only-top', 'opaque', ''],
    ].join('\n'),
  )
  t.equal(await sh('ls many | wc -l; ls plain/random modes/setgid 2>/dev/null || :'), '2401\n')
})

t.test('a file of 50 MB arrives whole', async (t) => {
  await onMount(`cp ${outside}/big big`)
  t.equal(await sh(`cmp big ${outside}/big && stat -c %s big`), '50000000\n')
  await onMount('echo tail >> big')
  t.equal(await sh(`head -c 50000000 big | cmp - ${outside}/big; tail -c 5 big`), 'tail\n')
})

t.test('500 small files arrive whole', async (t) => {
  await onMount('mkdir small; for n in $(seq 1 500); do echo "content of $n" > "small/$n"; done')
  t.equal(
    await sh('cd small; ls | wc -l; for n in $(seq 1 500); do [ "$(cat $n)" = "content of $n" ] || echo "$n"; done'),
    '500\n',
  )
})

t.test('tar unpacks onto the mount', async (t) => {
  await onMount(`mkdir unpacked; tar xf ${outside}/tree.tar -C unpacked --no-same-owner`)
  const sums = 'xargs -d "\\n" sha256sum --'
  t.equal(
    await sh(`cd unpacked; ${sums} < ${outside}/names; find . -type f | wc -l`),
    `${await scratch.sh(`cd ${quote(layers.lowerdir[1])}; ${sums} < ${outside}/names`)}300\n`,
  )
})

t.test('git clones a repository onto the mount and commits in it', async (t) => {
  await onMount(`git clone -q ${outside}/project clone; cd clone; git config user.name Tester; git config user.email tester@example.org
    echo changed >> file-2; git rm -q dir-1/file; echo new > dir-2/new; git add .; git commit -q -m 'from the mount'`)
  t.equal(
    await sh('cd clone; git fsck --strict 2>&1; git status --porcelain; git log --format=%s'),
    'from the mount\nchange 3\nchange 2\nchange 1\n',
  )
  t.equal(
    await sh(
      `git -C ${outside}/project pull -q ${davfs.path}/clone main; git -C ${outside}/project show --stat --format= | tail -n 1`,
    ),
    ' 3 files changed, 2 insertions(+), 1 deletion(-)\n',
  )
})

t.test('afterwards the lowers are as they were and the kernel shows the tree that the mount showed', async (t) => {
  const seen = await snapshot(scratch.sh, davfs.path)
  t.same(insidesShown(seen), [])
  await davfs.unmount()
  await overlayd.stop()
  t.same(await lowersChanged(), [])
  for (const index of ['index=off', 'index=on']) {
    const kernel = await mountKernelOverlay(scratch, 'kernel', layers, ['redirect_dir=on', index, 'metacopy=off'])
    const shown = await snapshot(scratch.sh, kernel.path)
    t.same(insidesShown(shown), [])
    t.same(differences(davTree(shown), davTree(seen, shown), davFields), [], index)
    await kernel.unmount()
  }
  t.same(await lowersChanged(), [])
})
