import { systemClock } from '../../clock.ts'
import { count, flag, listOf, objectOf, oneOf, type Schema, text, time } from '../api/schema.ts'
import { verb } from '../api/verb.ts'
import { type KickOrder, type KickReport, kick } from '../clients/kick.ts'
import { breakLock, type LockList, type LockRow, type LocksOrder, locksOf } from '../clients/locks.ts'
import { type ClientRow, clientsOf, type WhoOrder } from '../clients/who.ts'

const NAMES = (description: string): Schema => ({ type: 'array', items: { type: 'string' }, description })

const CLIENT = objectOf<ClientRow>({
  door: oneOf('The protocol.', 'nfs', 'webdav'),
  address: text('The address of the client.'),
  users: NAMES('Login names and owners of certificates; `uid N` where nobody has proved who it is.'),
  views: NAMES('The views that it has used.'),
  connections: count('Open connections.'),
  running: count('HTTP requests in progress.'),
  locks: count('Locks of the NFS client, or of the users over WebDAV.'),
  encrypted: flag('Whether a connection is encrypted.'),
  lastSeen: time('When it was seen last.'),
})

const LOCK = objectOf<LockRow>(
  {
    id: text('Names it for `lock break`.'),
    door: oneOf('The protocol.', 'nfs', 'webdav'),
    kind: oneOf('What it excludes.', 'exclusive', 'shared'),
    view: text('The view; absent: not served any more.'),
    path: text('WebDAV: the path in the view.'),
    deep: flag('WebDAV: whether everything below is locked too.'),
    file: count('NFS: the number of the file, as `ls -i` shows it.'),
    start: text('NFS: the first byte, in decimal.'),
    end: text('NFS: the last byte, in decimal; absent: to the end.'),
    client: text('NFS: the address of the client.'),
    clientName: text('NFS: what the client calls itself.'),
    user: text('WebDAV: the login name, or `uid N`.'),
    ends: time('WebDAV: when it ends unless it is refreshed.'),
  },
  ...(['view', 'path', 'deep', 'file', 'start', 'end', 'client', 'clientName', 'user', 'ends'] as const),
)

/** Who uses the server, and what they hold. */
export const CLIENT_VERBS = [
  verb({
    name: 'who',
    summary: 'The clients that are connected or were seen lately, with their users, views and locks.',
    changes: false,
    answer: 'result',
    order: objectOf<WhoOrder>(
      {
        view: text('Only clients that have used this view, or a view of this template.'),
        user: text('Only clients of this user.'),
        client: text('Only this address.'),
        seconds: count('Only clients that were seen in the last so many seconds.'),
      },
      ...(['view', 'user', 'client', 'seconds'] as const),
    ),
    result: listOf(CLIENT),
    run: async ({ server }, order): Promise<readonly ClientRow[]> => clientsOf(server, order, systemClock()),
  }),
  verb({
    name: 'kick',
    summary:
      'Ends the connections and locks of a client or user, and the sessions of a user. Nothing keeps them from coming back.',
    changes: true,
    answer: 'result',
    order: objectOf<KickOrder>(
      { client: text('The address of a client.'), user: text('A login name, or the owner of a certificate.') },
      ...(['client', 'user'] as const),
    ),
    result: objectOf<KickReport>({
      connections: count('Connections that were closed.'),
      locks: count('Locks that were ended.'),
      sessions: count('Sessions of browsers that were ended.'),
    }),
    run: ({ server }, order) => kick(server, order),
  }),
  verb({
    name: 'lock list',
    summary: 'The locks of NFS and WebDAV clients.',
    changes: false,
    answer: 'result',
    order: objectOf<LocksOrder>(
      {
        view: text('Only locks in this view, or in views of this template.'),
        client: text('Only locks of the NFS client with this address.'),
        user: text('Only WebDAV locks of this user.'),
        limit: { type: 'integer', minimum: 1, maximum: 10_000, description: 'At most so many; 1000 by default.' },
      },
      ...(['view', 'client', 'user', 'limit'] as const),
    ),
    result: objectOf<LockList>({
      locks: listOf(LOCK).schema,
      more: flag('Whether there are more.'),
    }),
    run: async ({ server }, order) => locksOf(server, order, systemClock()),
  }),
  verb({
    name: 'lock break',
    summary: 'Ends a lock. Its client is not told, so make sure that it does not rely on it any more.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly id: string }>({ id: text('The `id` of the lock.') }),
    result: LOCK,
    run: ({ server }, { id }) => breakLock(server, id, systemClock()),
  }),
] as const
