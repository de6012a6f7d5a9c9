import t from 'tap'
import { adminErrors } from '../../config/file/admin-tables.ts'
import type { LoginSettings, TlsSettings } from '../../config/index.ts'

const login = { admins: ['root'] } as unknown as LoginSettings
const tls = {} as TlsSettings
const at = (host: string) => ({ listen: { host, port: 1, given: true }, socket: undefined, group: undefined })

t.test('beyond loopback the admin door needs TLS, and always a login that names an admin', async (t) => {
  t.same(adminErrors({ admin: undefined, tls: undefined }), [])
  t.same(adminErrors({ admin: at('127.0.0.1'), login, tls: undefined }), [])
  t.same(adminErrors({ admin: at('0.0.0.0'), login, tls }), [])
  t.match(adminErrors({ admin: at('0.0.0.0'), login, tls: undefined }), [
    { option: 'admin.listen', reason: /unencrypted; add a certificate in \[tls\]/ },
  ])
  t.match(adminErrors({ admin: at('::1'), login: undefined, tls }), [{ reason: /needs a login; add \[login\]/ }])
  t.match(adminErrors({ admin: at('::1'), login: { ...login, admins: [] }, tls }), [
    { reason: /login\.admins is empty/ },
  ])
  t.match(adminErrors({ admin: { listen: undefined, socket: undefined, group: 'x' }, tls }), [
    { option: 'admin.group', reason: /only with admin\.socket/ },
  ])
})
