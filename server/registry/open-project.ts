import type { MountOptions } from '../../overlay-core/index.ts'
import { hasUpper, upperIsGone } from './view-directory.ts'
import type { ViewPlan } from './view-plan.ts'
import { ViewProject } from './view-project.ts'

/** The project of a view that the file system limits, with its present limits; undefined for other views. @throws OptionError · Error its upper is gone */
export async function openProject(
  { projectLimits, random }: ViewPlan,
  path: string,
  options: MountOptions,
): Promise<ViewProject | undefined> {
  const limits = projectLimits()
  if (limits === undefined) return undefined
  try {
    return await ViewProject.open(options, limits, { path, random })
  } catch (error) {
    if (!(await hasUpper(options))) throw upperIsGone(options)
    throw error
  }
}
