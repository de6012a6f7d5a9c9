import { mount, parseOptions } from '../../../overlay-core/index.ts'

/** Mounts what it is told, says so, and holds it until it is killed. */
await mount(parseOptions(process.argv[2] as string))
process.send?.('mounted')
setInterval(() => undefined, 60_000)
