import { type DnsmasqRequest, formatProblems } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Output } from '../config-command.ts'
import { loadConfig } from '../config-file.ts'
import { dnsmasqConfig } from './dnsmasq.ts'

/**
 * `overlayd boot dnsmasq`: prints a configuration of dnsmasq. Returns the exit status: 1 if the configuration file has errors.
 *
 * @throws OptionError nothing boots from the file, or its address cannot be told to machines
 */
export async function printDnsmasq(
  { config, ...asked }: DnsmasqRequest,
  { print, printError }: Output,
): Promise<number> {
  const { settings, problems } = await loadConfig(config)
  if (settings === undefined) {
    printError(formatProblems(problems.list()))
    return 1
  }
  const { boot } = settings
  if (boot === undefined) throw new OptionError('--config', `${config.name} has no table [boot]; add it`)
  if (boot.listen.host === '0.0.0.0' || boot.listen.host === '::' || boot.listen.port === 0)
    throw new OptionError(
      'boot.listen',
      'must be an address and port that machines can use; write for example "192.168.1.1:8081"',
    )
  print(dnsmasqConfig(boot, asked))
  return 0
}
