import { createRequire } from 'node:module'

/** The version of this package, for example `0.1.0`. */
export function version(): string {
  // Resolved by package name, because sources and built files are at different depths below package.json.
  const manifest: { version: string } = createRequire(import.meta.url)('overlayd/package.json')
  return manifest.version
}

/** The output of `--version`. */
export function versionText(): string {
  return `overlayd ${version()}\n`
}
