import { bytesOf, type LdapSettings } from '../../../config/index.ts'
import type { Account, AccountIds } from '../api/account.ts'
import { loginNameError } from '../sources/password-lines.ts'
import { isBelow, type NameStep, parseName } from './distinguished-name.ts'
import type { LdapEntry } from './ldap-connection.ts'

/** Ids below this one belong to the system: a directory must not make anybody root. */
const LEAST_ID = 1000
/** 2^32 - 1 means "no user" (chown(2)). */
const MOST_ID = 0xffff_fffe

/** An object of the directory that nobody can log in as. */
export class NoAccount extends Error {}

/** The attributes to ask for of a user. */
export function userAttributes(settings: LdapSettings): string[] {
  const { nameAttribute, groupAttribute, quotaAttribute, uidAttribute, gidAttribute } = settings
  const wanted = [
    nameAttribute,
    groupAttribute,
    quotaAttribute,
    ...(uidAttribute === undefined ? [] : [uidAttribute, gidAttribute]),
  ]
  return wanted.filter((name) => name !== undefined)
}

/** The account of an object, and of the objects of its groups that a search has found. @throws NoAccount the object is no account */
export function accountOf(
  entry: LdapEntry,
  asked: string,
  groups: readonly LdapEntry[],
  settings: LdapSettings,
): Account {
  const ids = idsOf(entry, groups, settings)
  const names = [
    ...memberOf(entry, settings),
    ...groups.flatMap((group) => valuesIn(group, settings.groupNameAttribute)),
  ]
  const quotaBytes = quotaOf(entry, settings)
  return {
    name: nameOf(entry, asked, settings),
    groups: [...new Set(names)],
    ...(ids && { ids }),
    ...(quotaBytes !== undefined && { quotaBytes }),
  }
}

/** The login name as the directory writes it. @throws NoAccount it has none, or one that is not allowed */
export function nameOf(entry: LdapEntry, asked: string, { nameAttribute }: LdapSettings): string {
  const names = valuesIn(entry, nameAttribute).map((name) => name.normalize('NFC'))
  const [first] = names
  // Somebody may have several names; whoever logs in by another attribute has one.
  const name = names.length === 1 ? first : names.find((each) => folded(each) === folded(asked))
  if (name === undefined)
    throw new NoAccount(
      `${entry.dn} has ${names.length} values of ${nameAttribute}, none of which is the name that was given`,
    )
  const wrong = loginNameError(name) ?? (name === 'root' ? 'root is the user of this machine' : undefined)
  if (wrong !== undefined) throw new NoAccount(`${entry.dn} cannot log in: ${wrong}`)
  return name
}

/** The names of the groups that the object itself lists. @throws NoAccount the server does not send the whole list */
function memberOf({ dn, values }: LdapEntry, { groupAttribute, groupBase }: LdapSettings): string[] {
  if (groupAttribute === undefined) return []
  const attribute = groupAttribute.toLowerCase()
  for (const name of values.keys())
    if (name.startsWith(`${attribute};range=`))
      throw new NoAccount(`the groups of ${dn} are too many; use group_filter`)
  const base = groupBase === undefined ? [] : parseName(groupBase)
  const names = (values.get(attribute) ?? []).map(parseName)
  const groups = names.filter((name): name is readonly NameStep[] => name !== undefined && isBelow(name, base ?? []))
  return groups.map((name) => name[0]?.[0]?.value ?? '').filter((name) => name !== '')
}

/** The ids on this machine; undefined if the object has none. @throws NoAccount they are not allowed */
function idsOf(entry: LdapEntry, groups: readonly LdapEntry[], settings: LdapSettings): AccountIds | undefined {
  const { uidAttribute, gidAttribute } = settings
  if (uidAttribute === undefined) return undefined
  const [uid] = valuesIn(entry, uidAttribute)
  const [gid] = valuesIn(entry, gidAttribute)
  if (uid === undefined) return undefined
  if (gid === undefined) throw new NoAccount(`${entry.dn} has no ${gidAttribute}`)
  const more = groups.flatMap((group) => valuesIn(group, gidAttribute).map((text) => idOf(text, group, gidAttribute)))
  return { uid: idOf(uid, entry, uidAttribute), gid: idOf(gid, entry, gidAttribute), groups: [...new Set(more)] }
}

function quotaOf(entry: LdapEntry, { quotaAttribute }: LdapSettings): number | undefined {
  const [text] = quotaAttribute === undefined ? [] : valuesIn(entry, quotaAttribute)
  if (text === undefined) return undefined
  const bytes = bytesOf(text)
  if (bytes === undefined)
    throw new NoAccount(`the ${quotaAttribute} of ${entry.dn} is not a size; write for example 10G`)
  return bytes
}

function idOf(text: string, { dn }: LdapEntry, attribute: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (!(id >= LEAST_ID && id <= MOST_ID))
    throw new NoAccount(`the ${attribute} of ${dn} is not a number from ${LEAST_ID} to ${MOST_ID}`)
  return id
}

function valuesIn({ values }: LdapEntry, attribute: string): readonly string[] {
  return values.get(attribute.toLowerCase()) ?? []
}

function folded(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}
