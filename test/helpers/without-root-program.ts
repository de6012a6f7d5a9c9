import { mount, parseOptions } from '../../overlay-core/index.ts'
import { type Scenario, SERVER } from './without-root.ts'

const [module, name, options] = process.argv.slice(2) as [string, string, string]
process.setgroups?.([...SERVER.groups])
process.setgid?.(SERVER.gid)
process.setuid?.(SERVER.uid)
const scenarios = (await import(module)) as Record<string, Scenario>
let overlay = await mount(parseOptions(options))
const result = await scenarios[name]?.(overlay, async () => {
  await overlay.unmount()
  overlay = await mount(parseOptions(options))
  return overlay
})
await overlay.unmount()
process.stdout.write(JSON.stringify(result))
