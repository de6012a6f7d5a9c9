/** A user of a view. */
export interface PeerUse {
  readonly uid: number
  /** The name of the view: `NAME`, or `TEMPLATE/NAME` as bytes. */
  readonly view: string
}

/** A view, as far as people are told of it. */
interface Labelled {
  readonly label: string
}

/** How many users and views are remembered for each connection. */
const MOST = 32

/** Who has used which views on a connection. Noting the same again costs two comparisons, because every call does it. */
export class PeerUses {
  #view: Labelled | undefined
  #uid = -1
  /** Made when it is needed: a datagram has a peer of its own. */
  #known: Map<string, PeerUse> | undefined

  note(view: Labelled, uid: number): void {
    if (view === this.#view && uid === this.#uid) return
    this.#view = view
    this.#uid = uid
    this.#known ??= new Map()
    const key = `${uid} ${view.label}`
    if (this.#known.has(key)) return
    const oldest = this.#known.size >= MOST ? this.#known.keys().next().value : undefined
    if (oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(key, { uid, view: view.label })
  }

  list(): readonly PeerUse[] {
    return [...(this.#known?.values() ?? [])]
  }
}
