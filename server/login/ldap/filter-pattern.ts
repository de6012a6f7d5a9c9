import type * as Ldap from 'ldapts'

/** The library, which is only loaded if there is an LDAP server. */
export type LdapLibrary = typeof Ldap

/** What stands for the placeholders of a filter. */
export interface FilterValues {
  readonly user: string
  /** The distinguished name of the user. */
  readonly dn?: string | undefined
}

/**
 * A filter with the placeholders `{user}` and `{dn}` in its values (RFC 4515). It is parsed once, before any name is known; a name then replaces the
 * placeholder in a parsed value and is sent as bytes with a length. So nothing in a name can become a part of the filter, and nothing needs to be escaped.
 */
export class FilterPattern {
  readonly #library: LdapLibrary
  readonly #text: string

  /** @throws Error it is not a filter */
  constructor(library: LdapLibrary, text: string) {
    this.#library = library
    this.#text = text
    library.FilterParser.parseString(text)
  }

  with(values: FilterValues): Ldap.Filter {
    const filter = this.#library.FilterParser.parseString(this.#text)
    this.#fill(filter, values)
    return filter
  }

  #fill(filter: Ldap.Filter, values: FilterValues): void {
    const { AndFilter, OrFilter, NotFilter, SubstringFilter } = this.#library
    if (filter instanceof AndFilter || filter instanceof OrFilter) {
      for (const each of filter.filters) this.#fill(each, values)
    } else if (filter instanceof NotFilter) this.#fill(filter.filter, values)
    else if (filter instanceof SubstringFilter) {
      filter.initial = replaced(filter.initial, values)
      filter.any = filter.any.map((part) => replaced(part, values))
      filter.final = replaced(filter.final, values)
    } else if ('value' in filter && typeof filter.value === 'string') filter.value = replaced(filter.value, values)
  }
}

function replaced(text: string, { user, dn = '' }: FilterValues): string {
  return text.replace(/\{(user|dn)\}/g, (_, word) => (word === 'dn' ? dn : user))
}
