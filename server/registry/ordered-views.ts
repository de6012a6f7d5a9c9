import type { TemplateView } from './template-view.ts'

/** The views of each user, and of all, by their order. */
export class OrderedViews {
  /** By user; undefined: of all. */
  readonly #views = new Map<number | undefined, TemplateView[]>([[undefined, []]])

  add(view: TemplateView): void {
    const { uid, order } = view.record
    for (const key of [undefined, uid]) {
      const views = this.#views.get(key) ?? []
      views.splice(firstAfter(views, order), 0, view)
      this.#views.set(key, views)
    }
  }

  remove(view: TemplateView): void {
    for (const key of [undefined, view.record.uid]) {
      const views = this.#views.get(key) ?? []
      views.splice(views.indexOf(view), 1)
      if (views.length === 0 && key !== undefined) this.#views.delete(key)
    }
  }

  /** The views of a user, or of all, that come after `order`. */
  *after(order: number, uid: number | undefined): Iterable<TemplateView> {
    const views = this.#views.get(uid) ?? []
    for (let at = firstAfter(views, order); at < views.length; at++) yield views[at] as TemplateView
  }
}

/** The index of the first view with a higher order. */
function firstAfter(views: readonly TemplateView[], order: number): number {
  let [from, to] = [0, views.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if ((views[middle] as TemplateView).record.order > order) to = middle
    else from = middle + 1
  }
  return from
}
