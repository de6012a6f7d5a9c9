import { CoreView } from './core-view.ts'

/** A fault, planted by `--import`: directories lose the sticky bit. The tester has to find it, and to tell it with the fewest operations. */
const { mkdir } = CoreView.prototype
CoreView.prototype.mkdir = function (cred, path, mode) {
  return mkdir.call(this, cred, path, mode & ~0o1000)
}
