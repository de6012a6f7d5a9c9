import t from 'tap'
import { readServiceManager } from '../../config/service-manager.ts'

const PID = 4711
const read = (variables: Record<string, string>) => readServiceManager(variables, PID, 1000)

t.test('without a service manager there is nothing', async (t) => {
  t.same(read({}), { sockets: new Map(), notify: undefined, watchdogMs: undefined })
})

t.test('sockets have the names of their listeners, and begin with descriptor 3', async (t) => {
  const given = { LISTEN_PID: '4711', LISTEN_FDS: '2', LISTEN_FDNAMES: 'nfs:webdav' }
  t.same(
    [...read(given).sockets],
    [
      ['nfs', 3],
      ['webdav', 4],
    ],
  )
  t.equal(read({ ...given, LISTEN_PID: '4712' }).sockets.size, 0, 'those of another process are not ours')
  t.equal(read({ ...given, LISTEN_PID: '1000' }).sockets.size, 0, 'nor those of the parent')
  t.equal(read({ ...given, LISTEN_PID: '1000', OVERLAYD_RELAUNCHED: '1' }).sockets.size, 2, 'unless it is the launcher')
})

t.test('a socket that no listener wants is an error that says how to name it', async (t) => {
  const given = { LISTEN_PID: '4711', LISTEN_FDS: '2' }
  t.throws(() => read({ ...given, LISTEN_FDNAMES: 'webdav:ftp' }), {
    message: /"ftp" is no listener.*FileDescriptorName=/,
  })
  t.throws(() => read(given), { message: /"" is no listener/ })
  t.throws(() => read({ ...given, LISTEN_FDNAMES: 'nfs:nfs' }), { message: /two sockets for nfs.*one ListenStream/ })
})

t.test('states go to a path or an abstract name, and the watchdog is for one process', async (t) => {
  t.equal(read({ NOTIFY_SOCKET: '/run/systemd/notify' }).notify, '/run/systemd/notify')
  t.equal(read({ NOTIFY_SOCKET: '@abstract' }).notify, '@abstract')
  t.equal(read({ NOTIFY_SOCKET: 'vsock:2:1234' }).notify, undefined)
  t.equal(read({ WATCHDOG_USEC: '30000000' }).watchdogMs, 30_000)
  t.equal(read({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '4711' }).watchdogMs, 30_000)
  t.equal(read({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '4712' }).watchdogMs, undefined)
  t.equal(read({ WATCHDOG_USEC: 'soon' }).watchdogMs, undefined)
})
