import { FILE_OPTIONS, type OptionSpec, STATE_DIR_OF_SERVER, WHICH_SERVER } from './schema.ts'

const JSON_OPTION: OptionSpec = { name: '--json', meaning: 'Prints the result as JSON.' }
const HELP: OptionSpec = { name: '--help', short: '-h', meaning: 'Prints how to use these commands and exits.' }
const CONFIG: OptionSpec = {
  ...(FILE_OPTIONS.find(({ name }) => name === '--config') as OptionSpec),
  meaning: 'The configuration file that says where the layer store is, if no server runs.',
}

/** The options of `overlayd layer` and `overlayd import`. */
export const LAYER_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--from',
    value: 'SOURCE',
    meaning:
      'With `add` and `publish`: where the content comes from. A directory; a tar file, also compressed by gzip or zstd; an OCI image as a layout directory or as an archive. The kind is found out, or written in front: `dir:PATH`, `tar:PATH`, `oci:PATH`, `oci-archive:PATH`, the last two also with `:TAG` at the end. With `import` it is *SOURCE*.',
    examples: ['--from /srv/course/material', '--from oci-archive:/tmp/image.tar:latest'],
  },
  {
    name: '--version',
    value: 'VERSION',
    meaning: 'The name of the new version; letters, digits, `.`, `_` and `-`.',
    otherwise: 'the number of the version',
  },
  {
    name: '--whiteouts',
    value: 'files',
    meaning:
      'With a directory: files `.wh.NAME` and `.wh..wh..opq` in it are whiteouts and marks of opaque directories. Otherwise such names are refused.',
  },
  { name: '--dry-run', meaning: 'With `gc`: removes nothing, and tells what would be removed.' },
  { name: '--yes', meaning: 'Asks nothing. `remove` asks on a terminal, and needs it elsewhere.' },
  JSON_OPTION,
  CONFIG,
  {
    name: '--store',
    value: 'DIR',
    meaning: 'The layer store, if no server runs and there is no configuration file yet.',
  },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  HELP,
]

/** The options of `overlayd commit` and `overlayd promote`. */
export const COMMIT_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--as',
    value: 'LAYER[:VERSION]',
    meaning: 'With `commit`: the layer of which the changes become a new version.',
  },
  {
    name: '--to',
    value: 'LAYER[:VERSION]',
    meaning: 'With `promote`: the layer of which the chosen changes become a new version.',
  },
  { name: '--dry-run', meaning: 'Makes no version, and prints what it would contain besides the version below.' },
  JSON_OPTION,
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  HELP,
]

/** The options of `overlayd export`. */
export const EXPORT_COMMAND_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--format',
    value: 'oci-layer|oci-archive|tar|overlay-dir',
    meaning:
      "`oci-layer`: a tar file as layers of OCI images are, with whiteouts; of a view its changes. `oci-archive`: an image; of a view with all layers below. `tar`: what one sees, without whiteouts. `overlay-dir`: a directory in the form of the kernel's overlay; of a view its changes.",
    default: 'oci-archive',
  },
  { name: '--to', value: 'PATH', meaning: 'The file or directory that is written. It must not exist.' },
  JSON_OPTION,
  CONFIG,
  { name: '--store', value: 'DIR', meaning: 'The layer store, if no server runs and a layer is exported.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  HELP,
]
