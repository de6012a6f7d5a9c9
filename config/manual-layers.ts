import { EXPORT_COMMAND_OPTIONS, LAYER_OPTIONS } from './layer-options.ts'
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
        'The configuration file or the layer store has to be named. A running server takes a new version for new views after `overlayd reload`. On a terminal the progress is shown.',
      ),
      { kind: 'options', options: LAYER_OPTIONS, joint: ' ' },
      code(
        'overlayd layer add material --from /srv/course/material --config overlayd.toml',
        'overlayd layer publish material --from /srv/course/material-2027',
        'overlayd layer add debian --from oci:/tmp/debian:bookworm',
      ),
      text('The exit status is 0; 2 if nothing was changed, for example because a version is in use.'),
    ],
  },
  {
    title: 'EXPORT',
    blocks: [
      code('overlayd export layer:NAME[@VERSION] --format oci-layer|oci-archive|tar|overlay-dir --to PATH [--json]'),
      text(
        'Writes a version of a layer to a file or directory that does not exist yet, and prints its digest. The same content makes the same bytes: names are sorted, and nothing of this machine and moment is in it. skopeo, umoci and podman accept the images.',
      ),
      { kind: 'options', options: EXPORT_COMMAND_OPTIONS, joint: ' ' },
      code(
        'overlayd export layer:material --to /tmp/material.tar',
        'skopeo copy oci-archive:/tmp/material.tar oci:/tmp/material:latest',
      ),
      text('The exit status is 0; 2 if nothing was written.'),
    ],
  },
]
