import {
  type OptionSpec,
  OVERLAY_OPTIONS,
  REMOUNT_OPTIONS,
  SERVE_OPTIONS,
  STATUS_OPTIONS,
  type WordSpec,
} from './schema.ts'

/** Columns of the manual. */
const WIDTH = 100

/** The manual that `--help` prints. */
export function helpText(): string {
  return `NAME
  overlayd - serves an overlay of directories over WebDAV and NFSv3

SYNOPSIS
  overlayd -o lowerdir=DIR[:DIR…],upperdir=DIR,workdir=DIR[,OPTION…] [NAME] [OPTION…]
  overlayd --sample [OPTION…]
  overlayd status [--url URL] [--json]
  overlayd remount -o OPTION[,OPTION…] [NAME]

DESCRIPTION
${paragraph(
  'Shows the lower directories merged into one writable tree, as a Linux overlay mount would, and serves it at http://HOST:PORT/NAME/ and as the NFS export /NAME at the same time. Every change lands in upperdir; the lowers are only read. The kernel mounts the same directories and sees the same tree. NAME is "overlay" when not given.',
  2,
)}

${paragraph('When every door is open the command to mount each one is printed. SIGTERM or SIGINT ends the server: what runs is finished, everything is flushed, the upper is released. A second signal ends it at once.', 2)}

OPTIONS
${list(SERVE_OPTIONS)}

OVERLAY OPTIONS
${list(OVERLAY_OPTIONS)}

OVERLAYD STATUS
${paragraph('Asks a running server on this machine for its uptime, views and counters.', 2)}

${list(STATUS_OPTIONS)}

OVERLAYD REMOUNT
${paragraph('Gives the overlay NAME of a running server (the only one when not given) other lowers or options, in one step. Clients keep their mounts; requests that run end on the old layers, later ones see the new ones. When something is wrong, nothing changes. Only the user of the server, and root, can do it.', 2)}

${list(REMOUNT_OPTIONS)}

EXAMPLES
  A writable view of /usr/share, for this machine:
    mkdir -p /srv/share/upper /srv/share/work
    overlayd -o lowerdir=/usr/share,upperdir=/srv/share/upper,workdir=/srv/share/work share

  Another release under the same writable tree, without stopping:
    overlayd remount -o lowerdir=/srv/release-2 share

  Two trees merged, read-only, NFS for one network only:
    overlayd -o lowerdir=/srv/patches:/srv/release release --webdav off \\
      --nfs 0.0.0.0:2049 --export '192.168.1.0/24(ro,all_squash)'

  Free ports, and a script that waits for them:
    overlayd -o lowerdir=/data --webdav 127.0.0.1:0 --nfs 127.0.0.1:0 --ready-file /run/ready

EXIT STATUS
  0  ended by a signal after everything was flushed
  1  could not go on
  2  a wrong option or directory; nothing was created or changed

FILES
  STATE/nfs-handle-key  the key of NFS file handles: clients have to remount when it is lost
  STATE/nfs-write-verifier  tells NFS clients when unstable data may be lost
  STATE/nfs-lock-clients/  which NFS clients are told of a restart
  STATE/nfs-replies/    answers to NFS calls that are asked again after a restart
  STATE/handles/        where NFS handles of read-only overlays lead (else in workdir)
  STATE/webdav-locks/   locks of WebDAV clients, which outlive the server
  STATE/run/            one note for each running server, for overlayd status
  STATE/sample/         upper and work of the sample
  STATE is the directory of --state-dir.

SEE ALSO
  mount(8), exports(5), mount.davfs(8), nfs(5)
`
}

function list(specs: readonly (WordSpec & Partial<OptionSpec>)[]): string {
  return specs.map(entry).join('\n')
}

function entry(spec: WordSpec & Partial<OptionSpec>): string {
  const name = spec.short === undefined ? spec.name : `${spec.short}, ${spec.name}`
  const ending = spec.default === undefined ? '' : ` Default: ${spec.default}.`
  const head = spec.value === undefined ? name : `${name} ${spec.value}`
  return `  ${head}\n${paragraph(`${spec.meaning}${ending}`, 6)}`
}

/** `text` in lines of at most `WIDTH` columns, each after `indent` blanks. */
function paragraph(text: string, indent: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.map((text) => ' '.repeat(indent) + text).join('\n')
}
