import { area, type PlantedFault } from './planted-fault.ts'

const CORE = 'overlay-core'
const TESTS = 'test/overlay-core'

const locks = area('locks', `${CORE}/base/lock.ts`, [`${TESTS}/base/lock.test.ts`])
const barrier = area('remount barrier', `${CORE}/base/remount-barrier.ts`, [`${TESTS}/base/remount-barrier.test.ts`])
const dcache = area('dentry cache', `${CORE}/objects/dcache.ts`, [`${TESTS}/objects/dcache.test.ts`])
const copyUpTests = [`${TESTS}/copy-up/copy-up.test.ts`, `${TESTS}/metacopy.test.ts`]
/** What is made durable, and when, shows in the order of system calls. */
const durabilityTests = [`${TESTS}/rules/copy-up.test.ts`]
const copyUp = area('copy-up', `${CORE}/copy-up/copy-up.ts`, copyUpTests)
const copyFile = area('copy-up', `${CORE}/copy-up/copy-file.ts`, copyUpTests)
const copyData = area('copy-up', `${CORE}/copy-up/copy-data.ts`, copyUpTests)
const copyFileDurably = area('copy-up', `${CORE}/copy-up/copy-file.ts`, durabilityTests)
const copyDataDurably = area('copy-up', `${CORE}/copy-up/copy-data.ts`, durabilityTests)
const copyPublish = area('copy-up', `${CORE}/copy-up/copy-publish.ts`, copyUpTests)
const lookupTests = [`${TESTS}/lookup/namei.test.ts`, `${TESTS}/rules/redirects.test.ts`]
const namei = area('lookup', `${CORE}/lookup/namei.ts`, lookupTests)
const redirect = area('lookup', `${CORE}/lookup/redirect.ts`, lookupTests)
const marks = area('lookup', `${CORE}/lookup/marks.ts`, [
  ...lookupTests,
  `${TESTS}/lookup/malformed-marks.test.ts`,
  `${TESTS}/metacopy.test.ts`,
])
const revalidate = area('revalidation', `${CORE}/lookup/revalidate.ts`, [`${TESTS}/lookup/revalidate.test.ts`])
const sharedTests = [`${TESTS}/stack/shared-lowers.test.ts`, `${TESTS}/stack/noted-changes.test.ts`]
const sharedLookup = area('shared lowers', `${CORE}/stack/lower-lookup.ts`, sharedTests)
const sharedListings = area('shared lowers', `${CORE}/stack/lower-listings.ts`, sharedTests)
const sharedNotice = area('shared lowers', `${CORE}/lookup/revalidate.ts`, sharedTests)
const sharedReaddir = area('shared lowers', `${CORE}/lookup/readdir.ts`, sharedTests)
const sharing = area('shared lowers', `${CORE}/mount/sharing.ts`, sharedTests)
const callEpochs = area('descriptors', `${CORE}/layer/call-epochs.ts`, [`${TESTS}/layer/call-epochs.test.ts`])
const dir = area('making names', `${CORE}/operations/dir.ts`, [`${TESTS}/operations/dir.test.ts`])
const remove = area('removing names', `${CORE}/operations/remove.ts`, [
  `${TESTS}/operations/dir.test.ts`,
  `${TESTS}/rules/on-disk.test.ts`,
])
const rename = area('rename', `${CORE}/operations/rename.ts`, [`${TESTS}/operations/rename.test.ts`])
const permission = area('permissions', `${CORE}/objects/permission.ts`, [
  `${TESTS}/objects/permission.test.ts`,
  `${TESTS}/operations/dir.test.ts`,
])
const acl = area('ACLs', `${CORE}/layer/acl.ts`, [`${TESTS}/layer/acl.test.ts`])

/** Faults in overlay-core. */
export const CORE_FAULTS: readonly PlantedFault[] = [
  locks('a writer does not keep others out', 'if (this.#writing) return false', ''),
  locks(
    'readers do not wait for changers',
    "if (kind === 'reader') return this.#changers === 0",
    "if (kind === 'reader') return true",
  ),
  locks(
    'changers and writers do not wait for readers',
    'return this.#readers === 0 && (',
    'return this.#readers >= 0 && (',
  ),
  locks(
    'a writer does not wait for changers',
    "(kind === 'changer' || this.#changers === 0)",
    "(kind === 'changer' || true)",
  ),
  locks('two changers of one name run at once', 'if (this.#names?.has(name)) return', 'if (false) return'),
  locks('late readers overtake', 'if (this.#queue === undefined && this.#admits(kind)) {', 'if (this.#admits(kind)) {'),
  locks('a reader never gives its place back', 'this.#readers--', 'this.#readers -= 0'),
  locks('an overlap is not noticed', 'else if (this.#changers++ > 0) this.#overlaps++', 'else this.#changers++'),
  barrier('a change does not wait for calls', 'if (this.#running > 0) {', 'if (this.#running > 99) {'),
  barrier(
    'calls go in during a change',
    'if (this.#closed) return this.#closed.promise',
    'if (false) return (this.#closed as never as PromiseWithResolvers<void>).promise',
  ),
  barrier('the barrier stays closed', 'this.#closed = undefined\n', '\n'),
  barrier('the first call that ends opens it', 'if (this.#running === 0) this.#empty?.()', 'this.#empty?.()'),
  dcache(
    'nothing is ever evicted',
    'while (this.#leaves.size > this.#limit) this.giveUp(1)',
    'while (this.#leaves.size > this.#limit * 1000) this.giveUp(1)',
  ),
  dcache(
    'use does not count',
    'if (dentry?.list === this.#leaves && this.#leaves.size > this.#limit / 2) this.#leaves.add(dentry)',
    '',
  ),
  dcache('a directory with cached names can go', '      this.#pin(dir)\n', ''),
  dcache('a directory that lost its names never goes', 'if (own) this.#addLeaf(own)', ''),
  dcache('a removed inode is still found', 'if (this.inode(inode.key) === inode) this.#inodes.delete(inode.key)', ''),
  copyUp(
    'two copy-ups of one file run at once',
    'if (other) return sb.descriptors.resting',
    'if (false) return Promise.resolve().then',
  ),
  copyUp(
    'metadata that is complete is not completed',
    'if (inode.upper && !wantsData) return undefined',
    'if (inode.upper) return undefined',
  ),
  copyFile(
    'what failed to be copied stays in the work directory',
    'if (!published && this.#fd >= 0) await removeTemp(this.#sb, this.#temp)',
    '',
  ),
  copyFile(
    'the failure of a call is passed over',
    'throw sysError(op, -result, this.#inode.lower?.name)',
    'return false',
  ),
  copyFileDurably(
    'copied data is not synced',
    'if (syncsCopy(this.#sb, size, shared)) await this.#sb.descriptors.resting(() => fsync(this.#fd))',
    '',
  ),
  copyDataDurably('a copy of data syncs though volatile', 'if (options.volatile) return false', ''),
  copyData('data does not keep its holes', 'if (start < 0) return', 'if (start < -1) return'),
  copyData('the end of the data is left out', 'await truncateFd(to, sizeBytes)\n  ', ''),
  copyPublish('the parent gets a new time by a copy-up', "await utimesAt(fd, '', times.atime, times.mtime)", ''),
  namei(
    'a whiteout does not hide',
    'if (probe === WHITEOUT) return undefined\n  const upper',
    'if (probe === WHITEOUT) return await searchStack(sb, { ...dir, upper: undefined } as OvlInode, name)\n  const upper',
  ),
  namei('an opaque directory shows the lower', 'if (marks.opaque || (!directory', 'if ((!directory'),
  namei('a name may hold slashes', "name.includes('/')", 'false'),
  redirect(
    'a whiteout in a lower does not hide',
    'if (at === WHITEOUT) return { at: undefined, stop: true, redirect }',
    'if (at === WHITEOUT) return { at: undefined, stop: false, redirect }',
  ),
  redirect(
    'an opaque directory in a lower shows what is below',
    'if (marks.opaque) stop = true',
    'if (false) stop = true',
  ),
  redirect(
    'a file below a directory is merged',
    'if (!last && at.stat.type !== FileType.directory) return { at: undefined, stop: true, redirect }',
    '',
  ),
  marks(
    'redirects may lead upwards',
    "if (part === '.' || part === '..') throw new OverlayError('EACCES', 'lookup')",
    '',
  ),
  marks('nofollow follows', "if (sb.options.redirectDir === 'nofollow') throw new OverlayError('EPERM', 'lookup')", ''),
  marks(
    'metacopy counts although it is off',
    "if (metacopy && !options.metacopy) throw new OverlayError('EPERM', 'lookup', real.name)",
    '',
  ),
  revalidate(
    'changed lowers are never seen',
    'if (changed === undefined) return false',
    'if (changed !== false) return false',
  ),
  revalidate(
    'the names of a changed directory stay',
    'for (const { dir, name } of inode.aliases) sb.dcache.remove(dir, name)',
    '',
  ),
  dir('a symlink may be empty', "if (target.length === 0) throw new OverlayError('ENOENT', 'symlink', name)", ''),
  dir('anybody makes devices', '(device && cred.uid !== 0)', '(device && cred.uid < 0)'),
  remove(
    'unlink takes directories',
    "if (victim.type === FileType.directory) throw new OverlayError('EISDIR', 'unlink', name)",
    '',
  ),
  remove('rmdir takes what is not empty', 'if (!(await isEmptyLocked(sb, victim)))', 'if (false)'),
  remove(
    'rmdir takes files',
    "if (victim.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'rmdir', name)",
    '',
  ),
  remove('no whiteout is left', 'if (coversNothing(sb, victim, dir, name))', 'if (dir.upper)'),
  rename(
    'a directory into itself',
    "if (isWithin(to.dir, source)) throw new OverlayError('EINVAL', 'rename', to.name)",
    '',
  ),
  rename(
    'NOREPLACE replaces',
    "if (options.noReplace && target) throw new OverlayError('EEXIST', 'rename', to.name)",
    '',
  ),
  rename(
    'a full directory is replaced',
    'if (targetLock && target && !(await isEmptyLocked(sb, target)))',
    'if (false)',
  ),
  rename(
    'redirects are made though off',
    "if (sb.options.redirectDir !== 'on') throw new OverlayError('EXDEV', 'rename', name)",
    '',
  ),
  permission(
    'the sticky bit is nothing',
    "if (cred.uid !== victim.uid && cred.uid !== dir.uid) throw new OverlayError('EPERM', op)",
    '',
  ),
  permission(
    'the owner gets the rights of others',
    'if (cred.uid === attr.uid) return ((mode >> 6) & mask) === mask',
    '',
  ),
  permission(
    'other groups do not count',
    'return cred.gid === gid || cred.groups.includes(gid)',
    'return cred.gid === gid',
  ),
  permission(
    'anybody changes modes',
    "if (change.mode !== undefined && !owner) throw new OverlayError('EPERM', 'chmod')",
    '',
  ),
  permission('root executes what nobody may', '(mode & 0o111) !== 0', 'true'),
  permission(
    'one group of an ACL is enough, whatever its mask',
    'if ((perm & mask) === mask) return limit === mask',
    'if ((perm & mask) === mask) return true',
  ),
  acl(
    'an ACL of another version is taken',
    "if (view.getUint32(0, true) !== VERSION) throw new OverlayError('EOPNOTSUPP', 'acl')",
    '',
  ),
  sharedLookup(
    'what was read before a noticed change is remembered',
    'if (isNews && dir.content.version === version)',
    'if (isNews)',
  ),
  sharedLookup('a file that changed keeps what it was found with', 'layer.revalidates && (', 'false && ('),
  sharedListings(
    'a listing outlives a change',
    'if (directory.mergedVersion !== versionOf(dirs)) return undefined',
    '',
  ),
  sharedNotice(
    'a change that another overlay noticed is not seen',
    'changed ?? (versionOf(dir.lowers) === dir.seenVersion ? undefined : latest)',
    'changed',
  ),
  sharedReaddir(
    'a file id that was given away is listed',
    'dir.listing !== listing && (sb.dcache.hasUppers || sb.lowers[0]?.frozen === true)',
    'false',
  ),
  sharing('overlays with other redirects share', '...{ redirectDir, metacopy,', '...{ metacopy,'),
  callEpochs('a descriptor is closed while a call uses it', '.until <= epoch; parts++', '.until < epoch; parts++'),
  callEpochs('a descriptor is closed that a resting call may use', 'as number) < born', 'as number) <= born'),
  acl('an ACL without its parts is taken', 'if (!complete || masks > 1 ||', 'if (masks > 1 ||'),
]
