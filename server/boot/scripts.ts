/** A boot that a script starts. */
export interface BootPlan {
  readonly token: string
  readonly arguments: readonly string[]
  /** Whether there is an initial RAM disk. */
  readonly initrd: boolean
}

/** What iPXE puts in for itself when it asks. */
const VARIABLES = `mac=\${netX/mac:hexhyp}&uuid=\${uuid}&serial=\${serial:uristring}&platform=\${platform}&arch=\${buildarch}`

const head = (lines: readonly string[]) => `#!ipxe\n${lines.join('\n')}\n`

/** The first script: it asks again, and says which machine it is. */
export function askingScript(path: string): string {
  return head([
    ':ask',
    `chain --replace ${path}?${VARIABLES} ||`,
    'echo overlayd does not let this machine boot now. Its log, and overlayd machine list, say why.',
    'echo Trying again in 10 seconds; Ctrl-C gives up.',
    'sleep 10 || exit 1',
    'goto ask',
  ])
}

/** Starts the kernel. */
export function bootScript({ token, arguments: words, initrd }: BootPlan): string {
  const ram = initrd ? ['initrd=initrd'] : []
  return head([
    'imgfree',
    `kernel --name kernel /boot/files/${token}/kernel ${[...ram, ...words].join(' ')} || exit 1`,
    ...(initrd ? [`initrd --name initrd /boot/files/${token}/initrd || exit 1`] : []),
    'boot || exit 1',
  ])
}

/** Waits, and asks again. */
export function waitingScript(path: string, query: string, text: string): string {
  return head([`echo ${text}`, 'sleep 10 || exit 1', `chain --replace ${path}?${query} || exit 1`])
}

/** Lets somebody at the machine choose a view. */
export function menuScript(
  views: readonly string[],
  { query, usual, timeoutSeconds, title }: { query: string; usual: string; timeoutSeconds: number; title: string },
): string {
  return head([
    `menu ${title}`,
    ...views.map((view) => `item ${view} ${view}`),
    'item --gap --',
    'item exit Boot from the next device',
    `choose --default ${usual} --timeout ${timeoutSeconds * 1000} chosen || exit 1`,
    `iseq \${chosen} exit && exit 1 ||`,
    `chain --replace /boot/\${chosen}.ipxe?${query} || exit 1`,
  ])
}

/** The same for GRUB, which has the server in its paths. */
export function grubScript(host: string, { token, arguments: words, initrd }: BootPlan): string {
  const at = `(http,${host})/boot/files/${token}`
  return `set timeout=0\nmenuentry overlayd {\n  linux ${at}/kernel ${words.map(grubWord).join(' ')}\n${initrd ? `  initrd ${at}/initrd\n` : ''}}\n`
}

/** A word in the quotes of GRUB, in which nothing has a meaning but the quote itself, and no argument has one. */
function grubWord(word: string): string {
  return /^[\w./:,=@+-]+$/.test(word) ? word : `'${word}'`
}
