/** The only door to overlay-core. */
export { type ChangeGuard, guardChanges } from './change-guard.ts'
export { ERRNO, type Errno, isErrno, OverlayError } from './errno.ts'
export { type KeptMemory, openKeptMemory } from './kept-memory.ts'
export type { Overlay } from './overlay-api.ts'
export { type MountOptions, OptionError, parseOptions } from './params.ts'
export { mount } from './super.ts'
export {
  Access,
  type Attr,
  type AttrChange,
  type CreateOptions,
  type Cred,
  type DirEntry,
  type DirEntryPlus,
  FileType,
  type Foreseen,
  type Inode,
  type Keeping,
  type KeptStage,
  type Maybe,
  type Name,
  type OpenFile,
  type Provenance,
  type PublishOptions,
  type SetTime,
  type Stability,
  type StagedFile,
  type StatFs,
  type Time,
  type Wcc,
} from './types.ts'
