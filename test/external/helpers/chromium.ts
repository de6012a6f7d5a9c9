import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Scratch } from './scratch.ts'

/** A tab of a headless Chromium, driven by the DevTools protocol. */
export interface Tab {
  /** Opens a page and waits until its script has run. */
  open(url: string): Promise<void>
  /** Evaluates an expression in the page; a promise is waited for. */
  run<T>(expression: string): Promise<T>
  /** Waits until the expression holds. @throws Error it does not within some seconds */
  until(expression: string): Promise<void>
  /** Presses a key, or types text when it is longer than one key. */
  press(key: string): Promise<void>
  type(text: string): Promise<void>
  click(selector: string): Promise<void>
  /** Puts files of this machine into a file input. */
  choose(selector: string, files: readonly string[]): Promise<void>
  /** Drops files of this machine onto the page. */
  drop(files: readonly string[]): Promise<void>
  resize(width: number, height: number, phone: boolean): Promise<void>
  /** Prefers dark or light colours from now on. */
  prefer(colours: 'dark' | 'light'): Promise<void>
  screenshot(file: string): Promise<void>
  cookies(): Promise<readonly { readonly name: string; readonly value: string }[]>
  /** Forgets all cookies, as another browser has none. */
  forgetCookies(): Promise<void>
  /** Pastes what was copied into the field that has the focus. */
  paste(): Promise<void>
  /** Answers requests for a password with these, until called with undefined. */
  logInAs(login: { readonly username: string; readonly password: string } | undefined): Promise<void>
  /** What the page wrote to its console as an error, violations of its content security policy included. */
  readonly complaints: readonly string[]
}

type Params = Record<string, unknown>

const KEYS: Readonly<Record<string, { code: string; windowsVirtualKeyCode: number; text?: string }>> = {
  Enter: { code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' },
  Escape: { code: 'Escape', windowsVirtualKeyCode: 27 },
  ArrowRight: { code: 'ArrowRight', windowsVirtualKeyCode: 39 },
  Tab: { code: 'Tab', windowsVirtualKeyCode: 9 },
}

/** Starts Debian's Chromium, without a window, for the time of the tests. */
export async function openChromium(scratch: Scratch): Promise<Tab> {
  const profile = join(scratch.path, 'chromium')
  await mkdir(profile)
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
  const more = ['--disable-extensions', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank']
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn('chromium', [...flags, ...more], {
    detached: true,
    env: { ...env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    stdio: 'ignore',
  })
  if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
  const closed = once(child, 'close')
  const devtools = await Devtools.connect(await tabAddress(join(profile, 'DevToolsActivePort')))
  scratch.defer(async () => {
    // It may end before it answers.
    void devtools.send('Browser.close')
    await closed
  })
  for (const domain of ['Page', 'Runtime', 'Log', 'DOM']) await devtools.send(`${domain}.enable`)
  return new ChromiumTab(devtools)
}

async function tabAddress(portFile: string): Promise<string> {
  for (let tries = 0; tries < 600; tries++) {
    const port = (await readFile(portFile, 'utf8').catch(() => '')).split('\n')[0]
    if (port) {
      const tabs = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as Record<string, string>[]
      const address = tabs.find(({ type }) => type === 'page')?.webSocketDebuggerUrl
      if (address !== undefined) return address
    }
    await delay(50)
  }
  throw new Error('chromium does not start')
}

class Devtools {
  readonly complaints: string[] = []
  /** With what requests for a password are answered. */
  login: Params | undefined
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, { resolve: (result: Params) => void; reject: (error: Error) => void }>()
  #count = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => this.#take(JSON.parse(String(data)) as Params))
  }

  static async connect(address: string): Promise<Devtools> {
    const socket = new WebSocket(address)
    await once(socket as unknown as EventTarget & NodeJS.EventEmitter, 'open')
    return new Devtools(socket)
  }

  send(method: string, params: Params = {}): Promise<Params> {
    const id = ++this.#count
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#socket.send(JSON.stringify({ id, method, params }))
    })
  }

  #take({ id, result, error, method, params }: Params): void {
    if (method === 'Log.entryAdded') this.#note((params as { entry: { level: string; text: string } }).entry)
    if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params))
    // What the page asks before it is left: tests leave it on purpose.
    if (method === 'Page.javascriptDialogOpening') void this.send('Page.handleJavaScriptDialog', { accept: true })
    if (method === 'Fetch.requestPaused')
      void this.send('Fetch.continueRequest', { requestId: (params as Params).requestId })
    if (method === 'Fetch.authRequired') this.#logIn((params as Params).requestId)
    const waiting = this.#waiting.get(id as number)
    if (waiting === undefined) return
    this.#waiting.delete(id as number)
    if (error === undefined) waiting.resolve(result as Params)
    else waiting.reject(new Error(JSON.stringify(error)))
  }

  #logIn(requestId: unknown): void {
    const answer =
      this.login === undefined ? { response: 'CancelAuth' } : { response: 'ProvideCredentials', ...this.login }
    void this.send('Fetch.continueWithAuth', { requestId, authChallengeResponse: answer })
  }

  #note({ level, text }: { level: string; text: string }): void {
    // A refused request is told of by the page itself.
    if (level === 'error' && !text.startsWith('Failed to load resource')) this.complaints.push(text)
  }
}

class ChromiumTab implements Tab {
  readonly #devtools: Devtools

  constructor(devtools: Devtools) {
    this.#devtools = devtools
  }

  get complaints(): readonly string[] {
    return this.#devtools.complaints
  }

  async open(url: string): Promise<void> {
    await this.#devtools.send('Page.navigate', { url })
    await this.until(`location.href === ${JSON.stringify(url)} && document.body?.dataset.ready !== undefined`)
  }

  async run<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#devtools.send('Runtime.evaluate', {
      ...{ expression, awaitPromise: true, returnByValue: true, userGesture: true },
    })
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value: T }).value
  }

  async until(expression: string): Promise<void> {
    for (let tries = 0; tries < 400; tries++) {
      // In the middle of a navigation there is no page to ask.
      if (await this.run<boolean>(`Boolean(${expression})`).catch(() => false)) return
      await delay(25)
    }
    throw new Error(`it never came to ${expression}; the page says: ${await this.run('document.body.innerText')}`)
  }

  async press(key: string): Promise<void> {
    const known = KEYS[key] ?? { code: '', windowsVirtualKeyCode: 0, text: key }
    await this.#devtools.send('Input.dispatchKeyEvent', { type: 'keyDown', key, ...known })
    await this.#devtools.send('Input.dispatchKeyEvent', { type: 'keyUp', key, ...known })
  }

  async type(text: string): Promise<void> {
    await this.#devtools.send('Input.insertText', { text })
  }

  async click(selector: string): Promise<void> {
    // The page may be drawing its list again.
    await this.until(`document.querySelector(${JSON.stringify(selector)})`)
    const at = await this.#centre(selector)
    for (const type of ['mousePressed', 'mouseReleased']) {
      await this.#devtools.send('Input.dispatchMouseEvent', { type, ...at, button: 'left', clickCount: 1 })
    }
  }

  async choose(selector: string, files: readonly string[]): Promise<void> {
    const { root } = (await this.#devtools.send('DOM.getDocument')) as { root: { nodeId: number } }
    const { nodeId } = await this.#devtools.send('DOM.querySelector', { nodeId: root.nodeId, selector })
    await this.#devtools.send('DOM.setFileInputFiles', { nodeId, files })
  }

  async drop(files: readonly string[]): Promise<void> {
    const data = { items: [], files, dragOperationsMask: 1 }
    for (const type of ['dragEnter', 'dragOver', 'drop']) {
      await this.#devtools.send('Input.dispatchDragEvent', { type, x: 200, y: 200, data })
    }
  }

  async resize(width: number, height: number, phone: boolean): Promise<void> {
    const metrics = { width, height, deviceScaleFactor: phone ? 2 : 1, mobile: phone }
    await this.#devtools.send('Emulation.setDeviceMetricsOverride', metrics)
  }

  async cookies(): ReturnType<Tab['cookies']> {
    const { cookies } = await this.#devtools.send('Network.getCookies')
    return cookies as Awaited<ReturnType<Tab['cookies']>>
  }

  async forgetCookies(): Promise<void> {
    await this.#devtools.send('Network.clearBrowserCookies')
  }

  async paste(): Promise<void> {
    const key = { key: 'v', code: 'KeyV', windowsVirtualKeyCode: 86, modifiers: 2 }
    await this.#devtools.send('Input.dispatchKeyEvent', { type: 'keyDown', ...key, commands: ['paste'] })
    await this.#devtools.send('Input.dispatchKeyEvent', { type: 'keyUp', ...key })
  }

  async logInAs(login: Parameters<Tab['logInAs']>[0]): Promise<void> {
    this.#devtools.login = login
    if (login === undefined) await this.#devtools.send('Fetch.disable')
    else await this.#devtools.send('Fetch.enable', { handleAuthRequests: true })
  }

  async prefer(value: 'dark' | 'light'): Promise<void> {
    await this.#devtools.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] })
  }

  async screenshot(file: string): Promise<void> {
    const { data } = await this.#devtools.send('Page.captureScreenshot', { format: 'png' })
    await writeFile(file, Buffer.from(data as string, 'base64'))
  }

  async #centre(selector: string): Promise<{ x: number; y: number }> {
    return await this.run(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)})
      element.scrollIntoView({ block: 'center' })
      const box = element.getBoundingClientRect()
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 }
    })()`)
  }
}
