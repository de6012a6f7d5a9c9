/** The public interface of the configuration. */
export { formatAddress, isLoopback } from './address.ts'
export { inOverlayOptions, parseCommandLine } from './command-line.ts'
export { type Environment, readEnvironment } from './environment.ts'
export { helpText } from './help.ts'
export type { Network } from './proxy-options.ts'
export type { Address, Command, LogLevel, RemountSettings, Settings, StatusSettings, ViewSettings } from './settings.ts'
