/** The server of main.ts, in a process of its own: an overlay below the folder of the first argument, over NFS; tells how long its loop stalls. */
import { mkdirSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { type NfsServer, parseExport, startNfs } from '../../../protocols/nfs/index.ts'
import { Bursts } from '../../helpers/bursts.ts'

const folder = process.argv[2] as string
const delay = monitorEventLoopDelay({ resolution: 1 })
const bursts = new Bursts()
const quiet = () => undefined
let running: { overlay: Overlay; nfs: NfsServer } | undefined

async function start(): Promise<number> {
  for (const name of ['upper', 'work']) mkdirSync(`${folder}/${name}`)
  const overlay = await mount(parseOptions(`lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`))
  const nfs = await startNfs({
    host: '127.0.0.1',
    port: 0,
    exports: [{ name: 'overlay', overlay, rules: parseExport('127.0.0.1(rw,no_root_squash,insecure)') }],
    handleKey: Buffer.alloc(32, 1),
    writeVerifier: Buffer.alloc(8),
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  })
  running = { overlay, nfs }
  return nfs.port
}

process.on('message', async (wish) => {
  if (wish === 'start') process.send?.({ port: await start(), stallMs: 0 })
  if (wish === 'watch') {
    delay.reset()
    delay.enable()
    bursts.start()
    process.send?.({ port: 0, stallMs: 0 })
  }
  if (wish === 'report') {
    bursts.stop()
    process.send?.({ port: 0, stallMs: delay.max / 1e6, burstMs: bursts.longestMs })
  }
  if (wish === 'stop') {
    await running?.nfs.close()
    await running?.overlay.unmount()
    process.exit(0)
  }
})
process.on('disconnect', () => process.exit(1))
