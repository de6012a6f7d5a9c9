import { Nfs3Error } from './status.ts'

/** Refuses "." and ".." as names to be made or removed: they belong to the directory itself. @throws Nfs3Error `status` */
export function refuseDots(name: string, status: number): void {
  if (name === '.' || name === '..') throw new Nfs3Error(status)
}
