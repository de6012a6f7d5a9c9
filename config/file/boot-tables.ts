import { isIP } from 'node:net'
import { OptionError } from '../../overlay-core/index.ts'
import { parseAddress } from '../address.ts'
import { MAC_CHECKS, MACHINE_POLICIES, SEEDS, UNKNOWN_MACHINES } from '../boot-settings.ts'
import { argumentError, readMac, readSerial, readUuid } from '../machine-identity.ts'
import type { Table } from './key.ts'
import { PATH } from './server-tables.ts'
import { choiceType, listType, textType, wholeType } from './value-types.ts'
import { TIME } from './view-tables.ts'

const TEXT = textType('"NAME"', 'a name', (text) => text)

/** A text that `read` understands. */
function identity(shown: string, wanted: string, read: (text: string) => string | undefined) {
  return textType(shown, wanted, (text) => {
    const value = read(text)
    if (value === undefined) throw new OptionError('identity', `${JSON.stringify(text.slice(0, 80))} is not ${wanted}`)
    return value
  })
}

const ARGUMENT = textType('"WORD"', 'an argument', (text) => {
  const wrong = argumentError(text)
  if (wrong !== undefined) throw new OptionError('arguments', wrong)
  return text
})

const MOUNT_OPTION = textType('"OPTION"', 'a mount option', (text) => {
  if (!/^[a-z][a-z0-9_]{0,31}(=[A-Za-z0-9_.:-]{1,64})?$/.test(text))
    throw new OptionError('mount_options', `${JSON.stringify(text.slice(0, 80))} is not one option of nfs(5)`)
  return text
})

/** A path in the view of a machine. */
const INSIDE = textType('"PATH"', 'a path in the view', (text) => {
  if (!/^\/[!-~]{1,1000}$/.test(text) || text.split('/').some((name) => name === '..'))
    throw new OptionError('path', `${JSON.stringify(text)} is not an absolute path in the view without ..`)
  return text
})

/** A line of a file; nothing in it can end it. */
const LINE = textType('"LINE"', 'a line', (text) => {
  if (/\p{Cc}/u.test(text.replaceAll('\t', ' ')))
    throw new OptionError('line', `${JSON.stringify(text.slice(0, 80))} is not one line`)
  return text
})

const SECRET = textType('"TEXT"', 'a secret', (text) => {
  if (!/^[A-Za-z0-9_-]{16,128}$/.test(text)) throw new OptionError('key', 'must be 16 to 128 letters, digits, - and _')
  return text
})

const SERVER = textType('"ADDRESS"', 'an address', (text) => {
  if (!/^[A-Za-z0-9.:-]{1,253}$/.test(text))
    throw new OptionError('server', `${JSON.stringify(text)} is not a host name or address`)
  return text
})

/** What machines and groups share. */
const PROFILE = {
  groups: {
    type: listType(TEXT),
    meaning:
      'The groups that it belongs to. Where several say something, the first counts; lists are put together: those of the groups first, then its own.',
    default: '[]',
    example: '["lab"]',
  },
  view: {
    type: TEXT,
    meaning: 'The view that the machine boots, one of `boot.views`.',
    otherwise: 'the menu',
    example: '"debian"',
  },
  policy: {
    type: choiceType(MACHINE_POLICIES),
    meaning:
      'What happens to the changes of the machine when it boots. `"keep"`: nothing. `"reset-at-boot"` and `"ephemeral"`: they are deleted. `"snapshot-at-boot"`: they stay, and a [snapshot](snapshots.md) is taken before. In a view with `upper = "ephemeral"` only `"keep"` and `"ephemeral"` are possible.',
    otherwise: '`"keep"`',
  },
  arguments: {
    type: listType(ARGUMENT),
    meaning: "Further words for the kernel's command line, each an item. A later one counts before an earlier one.",
    default: '[]',
    example: '["quiet", "mitigations=auto"]',
  },
  mount_options: {
    type: listType(MOUNT_OPTION),
    meaning: 'Further options of nfs(5) for the root, after those that the server chooses.',
    default: '[]',
    example: '["acregmax=600", "acdirmax=600"]',
  },
  console: {
    type: ARGUMENT,
    meaning: 'The console of the kernel, as in `console=`.',
    otherwise: 'the screen',
    example: '"ttyS0,115200"',
  },
  kernel: {
    type: INSIDE,
    meaning: 'The kernel, as a path in the view.',
    otherwise: 'the newest `/boot/vmlinuz-*`',
    example: '"/boot/vmlinuz-custom"',
  },
  initrd: {
    type: INSIDE,
    meaning: 'The initial RAM disk, as a path in the view.',
    otherwise: 'the one that belongs to the kernel',
    example: '"/boot/initrd.img-custom"',
  },
  seeds: {
    type: listType(choiceType(SEEDS)),
    meaning:
      'What the server writes into the view at each boot: see [Seeds](thin-clients.md#seeds). This list replaces that of the groups.',
    otherwise: '`["hostname", "hosts", "machine-id", "ssh-keys", "fstab", "shutdown"]`',
    example: '["hostname", "machine-id"]',
  },
  fstab: {
    type: listType(LINE),
    meaning: 'Lines for `/etc/fstab`, which has no others with the seed `"fstab"`.',
    default: '[]',
    example: '["tmpfs /tmp tmpfs mode=1777 0 0"]',
  },
  authorized_keys: {
    type: listType(LINE),
    meaning: 'The public keys that may log in as root by SSH, in `/root/.ssh/authorized_keys`.',
    default: '[]',
    example: '["ssh-ed25519 AAAA… admin"]',
  },
  files: {
    type: listType(PATH),
    meaning:
      'Directories whose files are written into the view at each boot, with their modes. In files that end in `.template`, which is left out, `{{name}}`, `{{mac}}`, `{{uuid}}`, `{{serial}}`, `{{address}}`, `{{server}}` and `{{view}}` are replaced.',
    default: '[]',
    example: '["seeds/lab"]',
  },
} as const

export const BOOT = {
  name: 'boot',
  named: false,
  meaning:
    'Machines without a disk boot from the server, each on a view of its own ([thin clients](thin-clients.md)). The boot scripts need no login, so it has a listener of its own, which serves nothing else.',
  keys: {
    listen: {
      type: textType('"HOST:PORT"', 'an address', (text) => {
        const address = parseAddress('boot.listen', text, true)
        if (address === undefined) throw new OptionError('boot.listen', 'cannot be off; remove the table [boot]')
        return { text, address }
      }),
      meaning: 'Where boot scripts, kernels and initial RAM disks are served, by HTTP.',
      example: '"192.168.1.1:8081"',
      required: true,
    },
    views: {
      type: listType(TEXT, 1),
      meaning:
        'The views that machines boot: each with `upper = "per-machine"`, or `"ephemeral"` with `per = "machine"`. Their views are named by the machines of the list instead of by addresses.',
      example: '["debian"]',
      required: true,
    },
    unknown: {
      type: choiceType(UNKNOWN_MACHINES),
      meaning:
        'What a machine gets that is in no list. `"refuse"`: nothing. `"menu"`: the menu, and a view named by its MAC. `"register"`: it waits until `overlayd machine approve` adds it. `"ephemeral"`: the view of `unknown_view`, which is an ephemeral one.',
      default: '"refuse"',
    },
    unknown_view: {
      type: TEXT,
      meaning: 'The view of unknown machines; only with `unknown = "ephemeral"`.',
      example: '"kiosk"',
    },
    default: {
      type: TEXT,
      meaning: 'The view that the menu boots by itself.',
      otherwise: 'the first of `views`',
      example: '"debian"',
    },
    timeout: {
      type: wholeType(1, 3600, ' of seconds'),
      meaning: 'How long the menu waits, in seconds.',
      default: '10',
    },
    server: {
      type: SERVER,
      meaning: 'The address of the NFS server for the machines.',
      otherwise: 'the address of this server at which the machine has asked',
      example: '"192.168.1.1"',
    },
    arguments: { ...PROFILE.arguments, meaning: `${PROFILE.arguments.meaning} For all machines.` },
    inventory: {
      type: PATH,
      meaning:
        'A directory of files `*.toml` with tables `[machines.NAME]` and `[groups.NAME]`, in addition to those here. They are read at the start and by `overlayd reload`.',
      example: '"machines.d"',
    },
    lease: {
      type: TIME,
      meaning:
        'How long a machine may be silent until its address is not its own any more. A number of seconds, minutes (`"10m"`) or hours without a call over NFS; then it must boot again.',
      default: '"24h"',
    },
    check_mac: {
      type: choiceType(MAC_CHECKS),
      meaning:
        'How the MAC that a machine claims is compared with the neighbour table (ARP) of the server. `"known"`: if its address is in the table, the MACs must be equal. `"always"`: it must be in the table, so machines behind routers cannot boot. `"never"`: not at all.',
      default: '"known"',
    },
    keep_snapshots: {
      type: wholeType(1, 100),
      meaning: 'How many snapshots `"snapshot-at-boot"` keeps of a machine.',
      default: '5',
    },
  },
} as const satisfies Table

export const GROUPS = {
  name: 'groups',
  named: true,
  meaning: 'A group of machines. Groups may belong to groups.',
  keys: PROFILE,
} as const satisfies Table

export const MACHINES = {
  name: 'machines',
  named: true,
  meaning:
    'A machine that boots from the server. *NAME* is its host name and the name of its view. It is found by its MAC, its UUID or its serial number; those that are given must all fit.',
  keys: {
    mac: {
      type: identity('"MAC"', 'a MAC such as 52:54:00:12:34:56', readMac),
      meaning: 'The address of its network card.',
      example: '"52:54:00:12:34:56"',
    },
    uuid: {
      type: identity('"UUID"', 'a UUID', readUuid),
      meaning: 'The UUID of its firmware (SMBIOS).',
      example: '"4c4c4544-0042-3510-8054-b4c04f4a4d32"',
    },
    serial: {
      type: identity('"TEXT"', 'a serial number of up to 64 letters, digits and . _ : + / -', readSerial),
      meaning: 'The serial number of its firmware, or of a Raspberry Pi (the last eight digits).',
      example: '"10000000abcdef01"',
    },
    address: {
      type: identity('"ADDRESS"', 'an IPv4 or IPv6 address', (text) => (isIP(text) === 0 ? undefined : text)),
      meaning:
        'The address that the machine has for good. Then it can mount its view without a boot script, for example a Raspberry Pi or a virtual machine whose kernel is started from outside, and so can whoever has this address.',
      example: '"192.168.1.50"',
    },
    key: {
      type: SECRET,
      meaning:
        'A secret that the boot loader of this machine must send as `key=`, see [Who may boot](thin-clients.md#who-may-boot).',
    },
    ...PROFILE,
  },
} as const satisfies Table
