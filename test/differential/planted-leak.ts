import { CoreView } from './core-view.ts'

/** A fault, planted by `--import`: a directory made in one view is also made in the view that was listed last. The tester has to find it. */
const { mkdir, readdir } = CoreView.prototype
let listed: CoreView | undefined

CoreView.prototype.readdir = function (cred, path) {
  listed = this
  return readdir.call(this, cred, path)
}

CoreView.prototype.mkdir = async function (cred, path, mode) {
  await mkdir.call(this, cred, path, mode)
  // It may have something else there.
  if (listed && listed !== this) await mkdir.call(listed, cred, path, mode).catch(() => undefined)
}
