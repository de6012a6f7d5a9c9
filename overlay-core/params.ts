/** Mount options by the kernel's names. */
export interface MountOptions {
  /** Topmost first. Absolute paths. */
  readonly lowerdir: readonly string[]
  /** Data-only lowers (`::`), below all others. */
  readonly datadir: readonly string[]
  readonly upperdir: string | undefined
  readonly workdir: string | undefined
  readonly redirectDir: 'on' | 'follow' | 'nofollow' | 'off'
  readonly index: boolean
  readonly metacopy: boolean
  readonly xino: 'on' | 'auto' | 'off'
  readonly userxattr: boolean
  readonly volatile: boolean
}

/** A wrong option: `option` is its name; the message says what is wrong and how to mend it, in one line. */
export class OptionError extends Error {
  readonly option: string
  constructor(option: string, message: string) {
    super(`${option}: ${message}`)
    this.name = 'OptionError'
    this.option = option
  }
}

/**
 * Parses the string of `-o` in mount(8) syntax: `lowerdir=a:b,upperdir=u,workdir=w,redirect_dir=on`. `\:` and `\,` escape.
 *
 * @throws OptionError unknown option, bad value, or options that do not go together
 */
export declare function parseOptions(text: string): MountOptions
