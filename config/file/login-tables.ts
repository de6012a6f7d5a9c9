import { OptionError } from '../../overlay-core/index.ts'
import { type IdSource, LOGIN_SOURCES } from '../settings.ts'
import type { Table } from './key.ts'
import { PATH } from './server-tables.ts'
import { choiceType, listType, textType } from './value-types.ts'

const USERS = listType(textType('"USER"|"@GROUP"', 'a user', (text) => text))

const MOST_ID = 0xffff_fffe

/** `"system"`, or a range of user ids as `"FIRST-LAST"`. */
const ID_SOURCE = textType('"system"|"FIRST-LAST"', 'a source of user ids', (text) => ({ text, from: parseIds(text) }))

function parseIds(text: string): IdSource {
  if (text === 'system') return text
  const [, first, last] = /^(\d{1,10})-(\d{1,10})$/.exec(text)?.map(Number) ?? []
  if (first === undefined || last === undefined || first < 1000 || last > MOST_ID || first > last)
    throw new OptionError(
      'ids',
      `${JSON.stringify(text)} is neither "system" nor a range of user ids from 1000 on; use for example "100000-199999"`,
    )
  return { first, last }
}

export const LOGIN = {
  name: 'login',
  named: false,
  meaning:
    'Who may log in. Without this table there is no login. With it, every request over WebDAV needs a user: `/NAME/` of a template is then the view of the user who asks. See [users.md](users.md).',
  keys: {
    sources: {
      type: listType(choiceType(LOGIN_SOURCES), 1),
      meaning:
        'Where accounts come from, in the order in which they are asked; the first source that knows a name decides. `"file"`: `password_file`. `"ldap"`: the directory of [ldap](#ldap). `"oidc"`: the users of the provider of [oidc](#oidc), by its tokens. `"proxy"`: a proxy of `webdav.trusted_proxies` that has verified the user and names it in `user_header`.',
      example: '["file"]',
      required: true,
    },
    password_file: {
      type: PATH,
      meaning:
        'The password file, with `NAME:HASH` on each line. The hashes are bcrypt or argon2id, as `overlayd user` and `htpasswd -B` write it. Other users of the machine must not have access to it. It is read again when it changes. Required by the source `"file"`.',
      example: '"users"',
    },
    realm: {
      type: textType('"TEXT"', 'a text', (text) => {
        if (!/^[ !#-[\]-~]{1,64}$/.test(text))
          throw new OptionError('realm', 'is up to 64 letters, digits and spaces; write another one')
        return text
      }),
      meaning: 'The name that clients show when they ask for a password.',
      default: '"overlayd"',
    },
    ids: {
      type: listType(ID_SOURCE, 1),
      meaning:
        'Where the user id of an account comes from if its source does not say it. `"system"`: the name service of this machine. Otherwise a range, from which each name gets a number and a group with the same number, for ever. The first that knows the name decides. A user without an id acts as nobody, and has a view only if `views.NAME.owner` is set. Unless root runs the server, all users act as the user of the server.',
      default: '["system"]',
      example: '["system", "100000-199999"]',
    },
    admins: {
      type: USERS,
      meaning: 'The users who may do everything: login names, or `@GROUP` for the members of a group.',
      default: '[]',
      example: '["root", "@admins"]',
    },
    readers: {
      type: USERS,
      meaning: 'The users who may change nothing, in any view.',
      default: '[]',
    },
    user_header: {
      type: textType('"FIELD"', 'a header field', (text) => {
        if (!/^[A-Za-z][A-Za-z0-9-]{0,63}$/.test(text))
          throw new OptionError(
            'user_header',
            `${JSON.stringify(text)} is not the name of a header field; use X-Remote-User`,
          )
        return text
      }),
      meaning:
        'The header field in which a trusted proxy names the user, for the source `"proxy"`. The proxy must remove it from the requests of clients. From any other address it is ignored.',
      default: '"X-Remote-User"',
    },
    audit_file: {
      type: PATH,
      meaning:
        'A file that gets one line of JSON for each login, refusal, and token made, used for the first time or revoked. The log gets them too, at the levels `info` and `warn`.',
      example: '"/var/log/overlayd-audit.log"',
    },
  },
} as const satisfies Table
