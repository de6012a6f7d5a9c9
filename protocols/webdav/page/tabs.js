// Tabs by mouse and keyboard (WAI-ARIA authoring practices: arrow keys move, the one in use has the focus), kept in the fragment of the URL.

/** Calls `show(id)` when the tab of the panel `id` is chosen, and at the start. */
export function enableTabs(show) {
  const tabs = [...document.querySelectorAll('[role=tab]')].filter((tab) => !tab.hidden)
  const choose = (tab, focus) => {
    for (const each of tabs) {
      const chosen = each === tab
      each.setAttribute('aria-selected', String(chosen))
      each.tabIndex = chosen ? 0 : -1
      document.getElementById(each.getAttribute('aria-controls')).hidden = !chosen
    }
    if (focus) tab.focus()
    const id = tab.getAttribute('aria-controls')
    if (location.hash.slice(1).split('/')[0] !== id) history.replaceState(null, '', `#${id}`)
    return show(id)
  }
  for (const [at, tab] of tabs.entries()) {
    tab.addEventListener('click', () => {
      const again = tab.getAttribute('aria-selected') === 'true' && location.hash.includes('/')
      // Back to the beginning of the panel.
      if (again) history.replaceState(null, '', `#${tab.getAttribute('aria-controls')}`)
      return choose(tab, false)
    })
    tab.addEventListener('keydown', ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key]
      if (step !== undefined) choose(tabs[(at + step + tabs.length) % tabs.length], true)
      else if (key === 'Home') choose(tabs[0], true)
      else if (key === 'End') choose(tabs.at(-1), true)
    })
  }
  const wanted = tabs.find((tab) => tab.getAttribute('aria-controls') === location.hash.slice(1).split('/')[0])
  return choose(wanted ?? tabs[0], false)
}
