import { FSCK_OPTIONS } from './fsck-options.ts'
import { code, type Section, text } from './manual-blocks.ts'

/** The section of the manual about `overlayd fsck`. */
export const FSCK: Section = {
  title: 'FSCK',
  blocks: [
    code(
      'overlayd fsck TEMPLATE[/NAME] --config FILE [--yes] [--json]',
      'overlayd fsck DIRECTORY [--lowerdir DIR[:DIR…]] [--workdir DIR] [--yes] [--json]',
    ),
    text(
      'Checks what an upper contains besides files: whiteouts, opaque directories, redirects, marks of origin and identity, the index of hard links, data of protocols, leftovers. Of a view, also its frozen layers and its saved usage; of a template, also its registry. It says what is wrong and what a repair does, and changes nothing without `--yes`. See [fsck.md](fsck.md).',
      '*DIRECTORY* is the directory of a template, of a view, or an upper, also one that the kernel or fuse-overlayfs wrote. Without its lowers, whiteouts and the targets of redirects are not checked. While a server or a mount uses it, the check is still possible, but may find what is just being changed; `--yes` is refused then.',
    ),
    { kind: 'options', options: FSCK_OPTIONS, joint: ' ' },
    code(
      'overlayd fsck course/alice --config /etc/overlayd/overlayd.toml',
      'overlayd fsck /srv/upper --lowerdir /srv/a:/srv/b --workdir /srv/work --yes',
    ),
    text(
      'The exit status is that of fsck(8): 0 without errors, 1 if all were repaired, 4 if errors are left, 8 if it could not be checked, 2 for a wrong command line. Warnings do not count.',
    ),
  ],
}
