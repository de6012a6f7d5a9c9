import { Nfs3Error } from './status.ts'

/** Refuses to create or remove "." and "..", which belong to the directory itself. @throws Nfs3Error `status` */
export function refuseDots(name: string, status: number): void {
  if (name === '.' || name === '..') throw new Nfs3Error(status)
}
