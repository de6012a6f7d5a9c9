import { COMMIT_OPTIONS, EXPORT_COMMAND_OPTIONS, LAYER_OPTIONS } from './layer-options.ts'
import { code, type Section, text } from './manual-blocks.ts'

/** The sections of the manual about layers with versions. */
export const LAYER_SECTIONS: readonly Section[] = [
  {
    title: 'LAYER',
    blocks: [
      code(
        'overlayd layer add|publish NAME --from SOURCE [--version VERSION] [--json]',
        'overlayd layer list [NAME] [--json]',
        'overlayd layer show NAME[@VERSION] [--json]',
        'overlayd layer remove NAME@VERSION [--yes] [--json]',
        'overlayd layer gc [--dry-run] [--json]',
        'overlayd import NAME SOURCE [--version VERSION] [--json]',
      ),
      text(
        'Keeps layers with versions in the layer store, see [layers.md](layers.md). A version never changes. Stacks of the configuration file name a layer as `layer:NAME` or `layer:NAME@VERSION`.',
        "`add` makes a layer with its first version, `publish` its next version; `import` does either. Whiteouts of archives and images become marks of the kernel's overlay. `list` and `show` print versions and who is on them. `remove` removes a version that nobody is on; `gc` frees the space of what no version contains.",
        'If a server of a configuration file runs, it does the work; otherwise name the configuration file or the layer store. On a terminal the progress is shown.',
      ),
      { kind: 'options', options: LAYER_OPTIONS, joint: ' ' },
      code(
        'overlayd layer add material --from /srv/course/material --config overlayd.toml',
        'overlayd layer publish material --from /srv/course/material-2027',
        'overlayd layer add debian --from oci:/tmp/debian:bookworm',
      ),
      text(
        'The exit status is 0; 1 if the server cannot be reached; 2 if nothing was changed, for example because a version is in use.',
      ),
    ],
  },
  {
    title: 'COMMIT',
    blocks: [
      code(
        'overlayd commit VIEW --as LAYER[:VERSION] [--dry-run] [--json]',
        'overlayd promote VIEW PATH… --to LAYER[:VERSION] [--dry-run] [--json]',
      ),
      text(
        'Makes the changes of a view a new version of a layer, while clients use the view: all of them, or those at paths and below. The view is frozen for that ([snapshots.md](snapshots.md)) and stays as it is. *VIEW* is *TEMPLATE/NAME*, a snapshot *TEMPLATE/NAME@SNAPSHOT*, or a view that all share.',
        'If the view lies on *LAYER*, which must be the topmost layer of its stack then, the new version has the content of the one below with the changes. Otherwise it has the changes alone, as a layer to be put on the same stack.',
      ),
      { kind: 'options', options: COMMIT_OPTIONS, joint: ' ' },
      code(
        'overlayd commit course/teacher --as material:week-2',
        'overlayd promote course/alice solutions/week-1 --to solutions',
      ),
      text('The exit status is 0; 1 if the server cannot be reached; 2 if no version was made.'),
    ],
  },
  {
    title: 'EXPORT',
    blocks: [
      code(
        'overlayd export VIEW --format oci-layer|oci-archive|tar|overlay-dir --to PATH [--json]',
        'overlayd export layer:NAME[@VERSION] --format FORMAT --to PATH [--json]',
      ),
      text(
        'Writes a view or a version of a layer to a file or directory that does not exist yet, and prints its digest. The same content makes the same bytes: names are sorted, and nothing of this machine and moment is in it. skopeo, umoci and podman accept the images.',
        'The server writes the file, so the path is one of its machine, and the file belongs to the user of the server.',
      ),
      { kind: 'options', options: EXPORT_COMMAND_OPTIONS, joint: ' ' },
      code(
        'overlayd export layer:material --to /tmp/material.tar',
        'skopeo copy oci-archive:/tmp/material.tar oci:/tmp/material:latest',
        'overlayd export course/alice --format tar --to /tmp/alice.tar',
      ),
      text('The exit status is 0; 1 if the server cannot be reached; 2 if nothing was written.'),
    ],
  },
]
