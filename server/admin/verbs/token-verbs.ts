import type { TokenDescription, TokenOrder } from '../../login/index.ts'
import { changeTokens } from '../../open-login.ts'
import { count, flag, listOf, objectOf, oneOf, text } from '../api/schema.ts'
import { type VerbContext, verb } from '../api/verb.ts'

const TOKEN = objectOf<TokenDescription>(
  {
    id: text('Names it.'),
    user: text('Whose it is.'),
    name: text('What its user calls it.'),
    view: { anyOf: [text('The view that it is for.'), { type: 'null' }] },
    path: text('The path that it is for.'),
    mode: oneOf('What it is good for.', 'read', 'write', 'drop'),
    kind: oneOf('An app password or a link.', 'app', 'link'),
    created: text('When it was made.'),
    expires: { anyOf: [text('When it expires.'), { type: 'null' }] },
    used: flag('Whether it was ever used.'),
    secret: text('Only when it is made.'),
    href: text('The path of a link, only when it is made.'),
  },
  ...(['secret', 'href'] as const),
)

const USER = text('The login name.')

async function only({ server, by }: VerbContext, order: TokenOrder): Promise<TokenDescription> {
  const [found] = await changeTokens(server, order, by.address)
  return found as TokenDescription
}

/** App passwords and links of users. */
export const TOKEN_VERBS = [
  verb({
    name: 'token list',
    summary: 'The app passwords and links of a user, or of all.',
    changes: false,
    answer: 'result',
    order: objectOf<Pick<TokenOrder, 'user'>>({ user: USER }, 'user'),
    result: listOf(TOKEN),
    run: async ({ server, by }, order) => await changeTokens(server, { verb: 'list', ...order }, by.address),
  }),
  verb({
    name: 'token make',
    summary: 'Makes an app password or a link.',
    changes: true,
    answer: 'result',
    order: objectOf<Omit<TokenOrder, 'verb' | 'id'>>(
      {
        user: USER,
        name: text('What its user calls it.'),
        view: text('Only for this view or template.'),
        path: text('Only for this path in the view.'),
        mode: text('`read`, `write` or, for links, `drop`.'),
        kind: text('`app` or `link`.'),
        password: text('The password of a link.'),
        seconds: count('When it expires, in seconds from now.'),
      },
      ...(['user', 'name', 'view', 'path', 'mode', 'kind', 'password', 'seconds'] as const),
    ),
    result: TOKEN,
    run: (context, order) => only(context, { verb: 'make', ...order }),
  }),
  verb({
    name: 'token revoke',
    summary: 'Revokes an app password or a link.',
    changes: true,
    answer: 'result',
    order: objectOf<Pick<TokenOrder, 'user' | 'id'>>({ user: USER, id: text('Which one.') }, 'user', 'id'),
    result: TOKEN,
    run: (context, order) => only(context, { verb: 'revoke', ...order }),
  }),
] as const
