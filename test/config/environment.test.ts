import t from 'tap'
import { isLoopback } from '../../config/address.ts'
import { defaultStateDir, readEnvironment } from '../../config/environment.ts'

t.test('the state directory is in /var/lib for root, else where XDG says', async (t) => {
  t.equal(defaultStateDir(0, '/x', '/root'), '/var/lib/overlayd')
  t.equal(defaultStateDir(1000, '/x', '/home/me'), '/x/overlayd')
  t.equal(defaultStateDir(1000, undefined, '/home/me'), '/home/me/.local/state/overlayd')
  t.equal(defaultStateDir(1000, 'relative', '/home/me'), '/home/me/.local/state/overlayd')
})

t.test('the environment is that of the process', async (t) => {
  t.equal(readEnvironment().cwd, process.cwd())
  t.equal(readEnvironment().uid, process.geteuid?.())
})

t.test('only addresses of this machine count as loopback', async (t) => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'localhost.evil.example', '127.evil.example', ''])
    t.notOk(isLoopback(host), host)
})
