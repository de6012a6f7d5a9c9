import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Lowers that several attacks share, made when first asked for. Nobody writes to them. */
export class Fixtures {
  readonly #dir: string

  constructor(dir: string) {
    this.#dir = dir
    mkdirSync(dir, { recursive: true })
  }

  /** A lower with a file `small`, and a directory `many` of so many small files with names of so many bytes. */
  names(count: number, nameBytes = 12): string {
    return this.#once(`names-${count}-${nameBytes}`, (lower) => {
      writeFileSync(join(lower, 'small'), 'small\n')
      fill(join(lower, 'many'), count, nameBytes)
    })
  }

  /** A lower with a file `small`, and below `tree` so many small files in directories of a thousand. */
  tree(count: number): string {
    return this.#once(`tree-${count}`, (lower) => {
      writeFileSync(join(lower, 'small'), 'small\n')
      for (let at = 0; at < count; at += 1000) {
        fill(join(lower, 'tree', `d${at / 1000}`), Math.min(1000, count - at), 30)
      }
    })
  }

  /** A lower with a file `small`, and files `1`, `2` … of so many MiB. */
  large(count: number, sizeMiB: number): string {
    return this.#once(`large-${count}-${sizeMiB}`, (lower) => {
      writeFileSync(join(lower, 'small'), 'small\n')
      for (let i = 1; i <= count; i++) writeFileSync(join(lower, String(i)), Buffer.alloc(sizeMiB * 1024 * 1024, i))
    })
  }

  /** A lower with a file `small`, and a file `hole` of so many bytes without data. */
  hole(sizeBytes: number): string {
    return this.#once(`hole-${sizeBytes}`, (lower) => {
      writeFileSync(join(lower, 'small'), 'small\n')
      const fd = openSync(join(lower, 'hole'), 'w')
      ftruncateSync(fd, sizeBytes)
      closeSync(fd)
    })
  }

  #once(name: string, make: (lower: string) => void): string {
    const path = join(this.#dir, name)
    if (existsSync(path)) return path
    mkdirSync(`${path}.new`)
    make(`${path}.new`)
    renameSync(`${path}.new`, path)
    return path
  }
}

function fill(dir: string, count: number, nameBytes: number): void {
  mkdirSync(dir, { recursive: true })
  for (let i = 0; i < count; i++) writeFileSync(join(dir, `${i}`.padEnd(nameBytes, 'a')), 'x')
}
