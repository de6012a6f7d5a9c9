/** How many snapshots of each period are kept; 0: none. */
export interface SnapshotCounts {
  readonly hourly: number
  readonly daily: number
  readonly weekly: number
}

/** Paths from the root of a view, as in the file, that a reset of the whole view treats in another way. */
export interface ResetRules {
  /** What stays as it is. */
  readonly keep: readonly string[]
  /** Directories that are empty afterwards. */
  readonly ephemeral: readonly string[]
}

/** What `overlayd trash` is told. */
export interface TrashRequest {
  readonly verb: 'list' | 'restore' | 'empty'
  readonly template: string | undefined
  /** The id or the path of what is restored. */
  readonly id: string | undefined
  readonly name: string | undefined
  /** Whether nothing is asked. */
  readonly yes: boolean
  readonly json: boolean
  readonly pid: number | undefined
  readonly stateDir: string
}

/** What `overlayd run --fork` is told. */
export interface RunRequest {
  readonly pid: number | undefined
  /** Absolute. */
  readonly stateDir: string
  /** `TEMPLATE/NAME`. */
  readonly view: string
  readonly command: readonly string[]
  /** What becomes of the fork; undefined: it is asked for on a terminal, and kept elsewhere. `name` undefined: under its own name. */
  readonly after:
    | { readonly kind: 'keep'; readonly name: string | undefined }
    | { readonly kind: 'promote' | 'drop' }
    | undefined
}

/** What `overlayd snapshot`, `snapshots`, `rollback`, `reset`, `restore`, `dedupe`, `fork` and `squash` are told. */
export interface SnapshotRequest {
  readonly verb: 'take' | 'list' | 'rollback' | 'reset' | 'restore' | 'dedupe' | 'remove' | 'fork' | 'squash'
  /** `TEMPLATE/NAME`; for `rollback`, `restore` and `remove` `TEMPLATE/NAME@SNAPSHOT`. */
  readonly view: string
  /** The paths that `reset` and `restore` put back; empty for a reset of the whole view. */
  readonly paths: readonly string[]
  /** Whether `reset` and `restore` copy what is at each path beside it. */
  readonly beside: boolean
  /** How long a fork exists, in ms; undefined: until it is removed. */
  readonly ttlMs: number | undefined
  /** Whether a fork ends when nobody has used it for its idle time. */
  readonly ephemeral: boolean
  /** The name of the snapshot (`take`), or of the new view (`fork`). */
  readonly name: string | undefined
  /** Whether a rollback or reset lets go of what the view contains. */
  readonly drop: boolean
  /** Whether nothing is asked. */
  readonly yes: boolean
  readonly json: boolean
  readonly pid: number | undefined
  readonly stateDir: string
}
