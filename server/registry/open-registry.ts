import type { TemplateSettings } from '../../config/index.ts'
import { makeDirectory } from '../make-directory.ts'
import { EphemeralRegistry } from './ephemeral-registry.ts'
import { needProjects } from './project-support.ts'
import type { ViewPool } from './view-pool.ts'
import { type Registry, ViewRegistry } from './view-registry.ts'

/** Reads the registry of a template. @throws OptionError naming `directory` */
export async function openRegistry(settings: TemplateSettings, { log, now }: ViewPool): Promise<Registry> {
  if (settings.quotaBy === 'filesystem') {
    await makeDirectory(settings.directory)
    await needProjects(settings.directory)
  }
  if (settings.ephemeral) return await EphemeralRegistry.open(settings, log, now)
  return await ViewRegistry.open(settings.directory, log)
}
