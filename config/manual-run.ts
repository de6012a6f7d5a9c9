import { code, type Section, text } from './manual-blocks.ts'
import { RUN_OPTIONS } from './run-options.ts'

/** `overlayd run`. */
export const RUN: Section = {
  title: 'RUN',
  blocks: [
    code('overlayd run --fork TEMPLATE/NAME [--keep NAME|--promote|--drop] -- COMMAND…'),
    text(
      'Runs a command on a fork of a view, in its root: for builds, exams, and programs that are not trusted with the view itself. The kernel mounts the fork for the command alone, in a mount namespace of its own, on the machine of the server; that needs root, or the user of a server without root. Clients of the view go on, and neither side sees changes of the other.',
      'Afterwards what the command has changed is printed as by `overlayd diff`. The fork is kept, its changes are promoted to the view, or it is dropped. Without an option that is asked for on a terminal; elsewhere the fork is kept, and its name printed. What the view contained before a promotion is kept as a snapshot `before-merge-…`.',
    ),
    { kind: 'options', options: RUN_OPTIONS, joint: ' ' },
    code(
      'overlayd run --fork course/alice --promote -- make test',
      'overlayd run --fork build/main --drop -- sh -c "make clean && make"',
    ),
    text(
      'The exit status is that of the command, 128 and the number of the signal that ended it, 1 if the server cannot be reached, or 2 if it refuses or the fork cannot be mounted.',
    ),
  ],
}
