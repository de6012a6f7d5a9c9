import { createRequire } from 'node:module'

/** The version of this package, for example `0.1.0`. */
export function version(): string {
  // By its own name: the sources and the built files lie at different depths below package.json.
  const manifest: { version: string } = createRequire(import.meta.url)('overlayd/package.json')
  return manifest.version
}

/** What `--version` prints. */
export function versionText(): string {
  return `overlayd ${version()}\n`
}
