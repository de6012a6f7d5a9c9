import type { BootSettings, DnsmasqRequest } from '../../config/index.ts'
import { formatAddress } from '../../config/index.ts'

/** The architectures of firmware (RFC 4578 section 2.1, and its registry), and the program that each starts first. */
const FIRMWARE = [
  { tag: 'bios', codes: [0], service: 'x86PC', file: 'undionly.kpxe' },
  { tag: 'efi', codes: [7, 9], service: 'X86-64_EFI', file: 'ipxe.efi' },
  { tag: 'arm64', codes: [11], service: 'ARM64_EFI', file: 'ipxe-arm64.efi' },
] as const
/** UEFI that loads its first program by HTTP. */
const HTTP_FIRMWARE = 16

/** The configuration of dnsmasq for the machines: it starts iPXE, and iPXE asks the boot door. */
export function dnsmasqConfig(boot: BootSettings, asked: Omit<DnsmasqRequest, 'config'>): string {
  const { network, range, interface: name, tftpRoot } = asked
  const url = `http://${formatAddress(boot.listen.host, boot.listen.port)}/boot.ipxe`
  const proxy = network !== undefined
  const lines = [
    '# Written by overlayd boot dnsmasq: machines start iPXE, and iPXE asks overlayd.',
    'port=0',
    'log-dhcp',
    ...(name === undefined ? [] : [`interface=${name}`, 'bind-interfaces']),
    '',
    proxy
      ? '# Another server gives out the addresses; this one only says what to boot.'
      : '# The addresses of the machines. They stay as long as the lease of overlayd.',
    ...(network === undefined ? [] : [`dhcp-range=${network.address},proxy,${maskOf(network.bits)}`]),
    ...(range === undefined ? [] : [`dhcp-range=${range.first},${range.last},24h`]),
    ...(proxy ? [] : hostLines(boot)),
    '',
    '# What iPXE starts from: the package ipxe has these files.',
    'enable-tftp',
    `tftp-root=${tftpRoot}`,
    'dhcp-match=set:ipxe,175',
    ...FIRMWARE.flatMap(({ tag, codes }) => codes.map((code) => `dhcp-match=set:${tag},option:client-arch,${code}`)),
    `dhcp-match=set:http,option:client-arch,${HTTP_FIRMWARE}`,
    ...FIRMWARE.map(({ tag, file }) => `dhcp-boot=tag:!ipxe,tag:${tag},${file}`),
    `dhcp-boot=tag:ipxe,${url}`,
    ...(proxy ? serviceLines(url) : []),
    '',
  ]
  return lines.join('\n')
}

/** With proxy DHCP, firmware asks again on port 4011, and gets these. */
function serviceLines(url: string): string[] {
  return [
    ...FIRMWARE.map(({ service, file }) => `pxe-service=tag:!ipxe,${service},"overlayd",${file}`),
    ...FIRMWARE.map(({ service }) => `pxe-service=tag:ipxe,${service},"overlayd",${url}`),
  ]
}

/** Machines that have an address for good get it by DHCP. */
function hostLines({ machines }: BootSettings): string[] {
  return machines.flatMap(({ mac, address, name }) =>
    mac === undefined || address === undefined ? [] : [`dhcp-host=${mac},${address},${name}`],
  )
}

function maskOf(bits: number): string {
  const mask = (0xffff_ffff << (32 - bits)) >>> 0
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 255).join('.')
}
