// Where the page is.

const { base, view, path, readonly } = document.body.dataset

export const here = new URL(base, location.href)

/** Whether nothing can be changed here. */
export const readOnly = readonly !== undefined

/** The view and the path in it, for links; undefined if none can be made. */
export const place = view === undefined ? undefined : { view, path }
