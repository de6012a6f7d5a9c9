import type { Cred } from '../../overlay-core/index.ts'

/** Root of a view, on whose behalf the server reads kernels and writes seeds. */
export const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
