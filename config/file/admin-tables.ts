import { OptionError } from '../../overlay-core/index.ts'
import { isLoopback, parseAddress } from '../address.ts'
import type { AdminSettings } from '../admin-settings.ts'
import type { Settings } from '../settings.ts'
import type { Table, ValuesOf } from './key.ts'
import { PATH } from './server-tables.ts'
import { textType } from './value-types.ts'

export const ADMIN = {
  name: 'admin',
  named: false,
  meaning:
    'Where administrators reach the [admin API and its page](admin.md), besides the Unix socket in the state directory.',
  keys: {
    listen: {
      type: textType('"HOST:PORT"', 'an address', (text) => {
        const address = parseAddress('admin.listen', text, true)
        if (address === undefined) throw new OptionError('admin.listen', 'cannot be off; remove the line')
        return { text, address }
      }),
      meaning:
        'Where the admin API and its page listen on TCP. They need a [login](#login) whose `admins` name somebody, and `[tls]` at an address that other machines can reach.',
      otherwise: 'not over TCP',
      example: '"0.0.0.0:8443"',
    },
    socket: {
      type: PATH,
      meaning:
        'One more Unix socket, outside of the state directory. Its directory must exist. Whoever may open it is an administrator.',
      otherwise: 'only the one in the state directory',
      example: '"/run/overlayd/admin.sock"',
    },
    group: {
      type: textType('"NAME"', 'a group', (text) => {
        if (/^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,62}\$?$/.test(text)) return text
        throw new OptionError('admin.group', `${JSON.stringify(text.slice(0, 80))} is not the name of a group`)
      }),
      meaning: 'The group of this machine whose members may use `socket`, which then has mode 0660.',
      otherwise: 'nobody but root and the user that runs the server; mode 0600',
      example: '"overlayd-admins"',
    },
  },
} as const satisfies Table

/** The admin settings of a file; undefined without the table. */
export function adminOf(admin: ValuesOf<typeof ADMIN.keys> | undefined): AdminSettings | undefined {
  if (admin === undefined) return undefined
  return { listen: admin.listen?.value.address, socket: admin.socket?.value, group: admin.group?.value }
}

/** Errors about the admin listener; empty if there are none. The options are keys of the configuration file. */
export function adminErrors({ admin, login, tls }: Pick<Settings, 'admin' | 'login' | 'tls'>): OptionError[] {
  const errors: OptionError[] = []
  const complain = (key: string, message: string) => errors.push(new OptionError(key, message))
  if (admin?.group !== undefined && admin.socket === undefined)
    complain('admin.group', 'has an effect only with admin.socket; add socket = "PATH", or remove it')
  if (admin?.listen === undefined) return errors
  if (login === undefined)
    complain('admin.listen', 'needs a login; add [login] with admins = ["NAME"], or use admin.socket instead')
  else if (login.admins.length === 0)
    complain('admin.listen', 'lets nobody in, because login.admins is empty; add admins = ["NAME"] to [login]')
  if (!isLoopback(admin.listen.host) && tls === undefined)
    complain(
      'admin.listen',
      `${admin.listen.host} can be reached from other machines, and passwords would cross the network unencrypted; add a certificate in [tls], or use 127.0.0.1`,
    )
  return errors
}
