import { join } from 'node:path'
import type { Scratch } from './scratch.ts'
import { quote } from './shell.ts'
import { differences, everyField, type Snapshot, snapshot } from './snapshot.ts'

/** The directories of one overlay; lowers topmost first. */
export interface Layers {
  readonly lowerdir: readonly string[]
  readonly upperdir: string
  readonly workdir: string
}

/**
 * Makes a stack of two lowers, an empty upper and a workdir in the folder `name` of the scratch folder.
 *
 * `base` holds `tree` (a copy of some thousand files of this machine), `many` (2,500 names), all file types, modes, owners, times
 * with nanoseconds, holes, hard links and hostile names; `top` covers parts of it with whiteouts, an opaque directory, a merged
 * directory and changes of type. With `archive` the root has an `archive.tar` of 200 directories; `small` leaves a
 * hundred files of `tree` and two hundred names of `many`. With `names: 'utf8'` every name is
 * one that davfs2 can carry, which has no room for its own additions to the longest ones.
 */
export async function makeLayers(
  scratch: Scratch,
  name: string,
  options: { names: 'bytes' | 'utf8'; archive?: boolean; small?: boolean },
): Promise<Layers> {
  const dir = join(scratch.path, name)
  await scratch.sh(`mkdir ${quote(dir)} && cd ${quote(dir)} && mkdir base top upper work\n${baseScript}\n${topScript}`)
  if (options.names === 'bytes') await scratch.sh(`cd ${quote(dir)}\n${byteNamesScript}`)
  if (options.archive === true) await scratch.sh(`cd ${quote(dir)}\n${archiveScript}`)
  if (options.small === true) await scratch.sh(`cd ${quote(dir)}\n${shrinkScript}`)
  // Last, and in the past, so that nothing made now can pass for a time that was kept.
  await scratch.sh(`cd ${quote(dir)}\n${timesScript}`)
  return { lowerdir: [join(dir, 'top'), join(dir, 'base')], upperdir: join(dir, 'upper'), workdir: join(dir, 'work') }
}

/** Remembers the lowers as they are. The function that it returns tells what has changed about them since, in any way but access times. */
export async function watchLowers(scratch: Scratch, layers: Layers): Promise<() => Promise<string[]>> {
  const take = (): Promise<Snapshot[]> => Promise.all(layers.lowerdir.map((lower) => snapshot(scratch.sh, lower)))
  const before = await take()
  return async () => {
    const after = await take()
    return before.flatMap((tree, at) => differences(tree, after[at] as Snapshot, everyField))
  }
}

const baseScript = String.raw`
cd base
for source in /usr/share/perl /usr/include /usr/share/doc; do
  [ ! -d "$source" ] || { cp -a "$source" tree; break; }
done
mkdir many plain modes links odd names hole deep merged merged/below opaque opaque/sub gone gone/sub kind
(cd many && seq -f 'entry-%05g' 1 2500 | xargs touch)
echo 'first line' > plain/text
: > plain/empty
head -c 5000001 /dev/urandom > plain/random
seq 1 20000 > plain/numbers
echo gone > gone/file; echo gone > gone/sub/file; echo gone > plain/whited-out
echo base > merged/both; echo base > merged/only-base; echo base > merged/below/base; echo hidden > opaque/sub/file
echo file > kind/file-to-directory; mkdir kind/directory-to-file; echo x > kind/directory-to-file/x; ln -s nowhere kind/link-to-file
mkdir -p deep/1/2/3/4/5/6/7/8/9; echo deep > deep/1/2/3/4/5/6/7/8/9/file
for mode in 0000 0400 0444 0600 0640 0755 1644 2755 4755 6711; do echo "$mode" > "modes/$mode"; chmod "$mode" "modes/$mode"; done
mkdir modes/sticky modes/setgid modes/closed; chmod 1777 modes/sticky; chmod 2775 modes/setgid; chmod 0700 modes/closed
echo owned > modes/owned; chown 1234:5678 modes/owned modes/setgid; echo secret > modes/closed/secret
echo linked > links/a; ln links/a links/b; ln links/a plain/c; echo pair > links/pair-1; ln links/pair-1 links/pair-2
ln -s ../plain/text links/relative; ln -s ../merged links/directory; ln -s /nowhere/at/all links/dangling; ln -s loop links/loop
mkfifo odd/fifo; mknod odd/null c 1 3; mknod odd/block b 7 200
truncate -s 8M hole/sparse; printf middle | dd of=hole/sparse bs=1 seek=4000000 conv=notrunc status=none
setfattr -n user.colour -v green plain/text
for name in 'with space' 'ünï-çødé 名前' 'hash#percent%41question?' "quote'single" 'quote"double' 'amp&lt<gt>' 'semi;colon:plus+' '-dash' '~tilde' \
  '#12345' "$(printf 'long%.0s' $(seq 1 50))"; do echo "$name" > "names/$name"; done
cd ..`

const topScript = `
cd top
mkdir merged opaque plain kind
mknod plain/whited-out c 0 0; mknod gone c 0 0; mknod never-was c 0 0
echo top > merged/both; echo top > merged/only-top
setfattr -n trusted.overlay.opaque -v y opaque; echo top > opaque/file
mkdir kind/file-to-directory; echo y > kind/file-to-directory/y; echo file > kind/directory-to-file; echo file > kind/link-to-file
echo 'only in top' > top-file
chown 42:43 merged; chmod 0750 merged
cd ..`

const byteNamesScript = String.raw`
cd base
for name in "$(printf 'latin-\344')" "$(printf 'bad-\377\376')" "$(printf 'new\nline')" "$(printf 'tab\tbell\a')" 'back\slash' \
  "$(printf 'longest%.0s' $(seq 1 36))255"; do echo x > "names/$name"; done
ln -s "$(printf 'to-\344\377')" links/odd-bytes
ln -s "$(printf 'x%.0s' $(seq 1 1000))" links/long
cd ..`

const archiveScript = `
mkdir archive; for n in $(seq 101 300); do mkdir "archive/$n"; seq "$n" 1000 > "archive/$n/numbers"; ln -s numbers "archive/$n/link"; done
tar cf base/archive.tar archive; rm -r archive`

const shrinkScript = `
find base/tree -type f | sort | tail -n +101 | xargs rm --; find base/tree -type d -empty -delete
ls base/many | tail -n +201 | (cd base/many && xargs rm)`

const timesScript = `
find base top -mindepth 1 -not -path 'base/tree/*' -print0 | xargs -0 touch -h -d '2001-02-03 04:05:06.123456789'
touch -d '2040-01-01 00:00:00.000000001' base/plain/empty
touch -d '2010-10-10 10:10:10.101010101' base top upper`
