/**
 * A script of changes to the tree that `makeLayers` makes with `names: 'bytes'` and an `archive.tar` in its root: of each kind that an overlay has
 * to treat in its own way. Whoever runs it in the root of a view of those layers, through whatever door, ends with the same tree.
 */
export const changeTree = String.raw`
# Files: copy-up by writing, truncating and changing attributes.
echo edited >> plain/text
sed -i 's/^5$/five/' plain/numbers
truncate -s 100 plain/random
printf MIDDLE | dd of=hole/sparse bs=1 seek=2000000 conv=notrunc status=none
: > top-file
chmod 0751 modes/0640; chmod 4755 modes/0755; chown 77:88 modes/owned; chown 5:6 modes/4755; chmod 2711 modes/sticky
touch -d '2011-11-11 11:11:11.111111111' plain/empty
touch -h -d '2012-12-12 12:12:12.121212121' links/dangling
# Hard links: of lower files, before and after their copy-up.
ln hole/sparse links/hard
ln links/a links/d
echo more >> links/b
rm links/a
echo x >> links/pair-2
mv links/pair-1 kind/pair-moved
# Names that go, and come back as something else.
rm -r many; mkdir many; echo again > many/one
mkdir gone; echo new > gone/new
echo back > plain/whited-out
rm kind/link-to-file; mkdir kind/link-to-file
rm -r kind/file-to-directory; echo file > kind/file-to-directory
rm -r opaque; mkdir -p opaque/sub; ln -s nowhere opaque/sub/link
ln -s 'some target' links/symlink; ln -s "$(printf 'bytes-\377')" links/symlink-bytes
# Renames: files over files, directories of lowers, merged ones, into each other, twice, and away from under names made anew.
mv plain/empty plain/c
mv tree moved-tree; mkdir tree; echo fresh > tree/fresh
mv moved-tree deep/1/2/3/tree-again
mv merged renamed; echo inside > renamed/inside; mv renamed/below renamed/beneath
mv deep/1 one; mv one/2/3/4 four
mkdir -p pair/a pair/b; touch pair/a/x; mv -T pair/a pair/b
mv modes/closed modes/sticky/closed
cd names
mv "$(printf 'bad-\377\376')" "$(printf 'good-\376\377')"; rm "$(printf 'new\nline')"; echo y >> "$(printf 'latin-\344')"
mv 'with space' "$(printf 'with\nnewline')"; mv longest* longest; rm -- -dash; mv 'hash#percent%41question?' '%2e%41'
cd ..
# Special files, and a tree from an archive.
mkfifo odd/fifo-2; mknod odd/zero c 1 5; mv odd/fifo odd/fifo-moved; rm odd/block
mkdir unpacked; tar xf archive.tar -C unpacked
rm -r unpacked/archive/300
# For the attempts below.
mkdir -m 1777 shared; touch shared/theirs; mkdir shared/directory
`

/**
 * A script of attempts by somebody who is not root; prints one line per attempt. To be run as uid 1234, gid 5678, in the root of a view
 * after `changeTree`.
 */
export const attempts = `
umask 022
try() { if "$@" > /dev/null 2>&1; then echo "done: $*"; else echo "refused: $*"; fi; }
append() { echo more >> "$1"; }
try cat modes/0444; try cat modes/0600; try cat modes/0640; try cat modes/owned; try cat modes/6711
try append modes/0644-new; try append plain/text; try append modes/owned; try append modes/0444
try ls modes/sticky/closed; try cat modes/sticky/closed/secret; try ls modes; try ls modes/setgid
try mkdir modes/setgid/made; try append modes/setgid/file; try rm modes/setgid/file; try append modes/setgid/kept
try chmod 600 modes/owned; try chmod 600 plain/text; try chgrp 0 modes/setgid/kept; try chown 0 modes/setgid/kept
try touch plain/text; try touch -d 2001-01-01 plain/text; try touch modes/setgid/kept; try truncate -s 0 plain/random
try append shared/mine; try mv shared/mine shared/mine-2; try rm shared/theirs; try mv shared/theirs shared/stolen; try rm -r shared/directory
try ln plain/text shared/link; try mknod shared/device c 1 3; try mkfifo shared/fifo; try ln -s x shared/symlink
try chmod 4755 shared/mine-2; try chmod 2755 shared/mine-2; try append shared/mine-2
stat -c '%n %a %u %g %F' shared shared/* modes/setgid modes/setgid/*
`
