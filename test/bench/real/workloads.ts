/** Where the files of a workload lie: in the lower, or in the upper. */
export type Case = 'lower' | 'upper'

/** Something that a person does on a mount. */
export interface Workload {
  readonly name: string
  readonly case: Case
  /** For bash, in the root of the mount. `$tree` is the folder of the case and round; `$new` one that is new in the upper; `$HOME` has what comes from elsewhere. */
  readonly script: string
  /** Whether the client may still have something to send when the script ends. */
  readonly writes: boolean
}

const EXTRACT = `sh -c 'mkdir -p "node_modules/\${0%.tgz}" && tar xzf "$HOME/packages/$0" -C "node_modules/\${0%.tgz}"'`

/**
 * The workloads, in the order in which a round does them: what takes a tree away, or copies it up, does so with one of its own.
 */
export const WORKLOADS: readonly Workload[] = (['lower', 'upper'] as const).flatMap((at) => [
  reads(at, `find, cold, ${at} files`, 'find "$tree/files" -printf "%s %m %T@\\n" > /dev/null'),
  reads(at, `grep -r, ${at} files`, 'grep -rc overlay "$tree/files" > /dev/null || true'),
  writes(at, `cp -a of ${at} files`, `cp -a "$tree/files" "$new/copy-${at}"`),
  writes(at, `git clone ${at === 'lower' ? 'from a lower repository' : 'from elsewhere'}`, cloneOf(at)),
  writes(at, `tar x ${at === 'lower' ? 'over lower files' : 'of new files'}`, untarOf(at)),
  writes(
    at,
    `npm ci over ${at} node_modules`,
    `cd "$tree/project" && rm -rf node_modules && mkdir node_modules && ls "$HOME/packages" | xargs -P 4 -n 1 ${EXTRACT}`,
  ),
  writes(at, `make, ${at} sources`, 'make -s -C "$tree/source"'),
  writes(at, `chmod -R of ${at} files`, 'chmod -R u+x,g+w "$tree/modes"'),
  writes(at, `rm -r of ${at} files`, 'rm -r "$tree/files"'),
])

function reads(at: Case, name: string, script: string): Workload {
  return { name, case: at, script, writes: false }
}

function writes(at: Case, name: string, script: string): Workload {
  return { name, case: at, script, writes: true }
}

function cloneOf(at: Case): string {
  return `git clone -q ${at === 'lower' ? '"$tree/repository"' : '"$HOME/repository"'} "$new/clone-${at}"`
}

function untarOf(at: Case): string {
  return at === 'lower'
    ? 'tar xf "$HOME/files.tar" -C "$tree/overwritten"'
    : 'mkdir "$new/extracted" && tar xf "$HOME/files.tar" -C "$new/extracted"'
}

/** The workloads with one of these in their name; all when there is none. */
export function chosen(only: readonly string[]): Workload[] {
  return WORKLOADS.filter(({ name }) => only.length === 0 || only.some((part) => name.includes(part)))
}
