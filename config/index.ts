/** The public interface of the configuration. */
export { formatAddress, isLoopback } from './address.ts'
export type { AdminOrder, AdminRequest } from './admin-request.ts'
export type { AdminSettings } from './admin-settings.ts'
export type {
  BootSettings,
  MacCheck,
  MachinePolicy,
  MachineProfile,
  MachineSettings,
  Seed,
} from './boot-settings.ts'
export type { CertRequest } from './cert-commands.ts'
export { inOverlayOptions, parseCommandLine } from './command-line.ts'
export { type Environment, readEnvironment } from './environment.ts'
export type { ConflictRule } from './file/conflict-rules.ts'
export type { EffectiveValue } from './file/effective.ts'
export { formatProblem, formatProblems, type Problem, Problems } from './file/problems.ts'
export type { Config, ConfigContext } from './file/read-config.ts'
export type { FoundLayer, LayerLookup } from './file/stack-layers.ts'
export type { FileView } from './file/views.ts'
export type { FsckRequest } from './fsck-command.ts'
export { helpText } from './help.ts'
export type { ImageRequest, ImageSource } from './image-commands.ts'
export { type LayerReference, layerText, parseLayerReference, type StackLayer } from './layer-reference.ts'
export type { LdapSettings, LdapUrl } from './ldap-settings.ts'
export { loadConfigReader } from './load-config-reader.ts'
export { argumentError, machineNameError, readMac, readSerial, readUuid } from './machine-identity.ts'
export { type ResolvedMachine, resolveMachine } from './machine-profiles.ts'
export type { DnsmasqRequest, MachineRequest } from './machine-requests.ts'
export type { OidcSettings } from './oidc-settings.ts'
export type { Network } from './proxy-options.ts'
export type { ServiceManager } from './service-manager.ts'
export type {
  Address,
  Command,
  ConfigRequest,
  DiffRequest,
  Identity,
  IdSource,
  InitRequest,
  LayerRequest,
  LayerWork,
  LoginSettings,
  LoginSource,
  LogLevel,
  PrintRequest,
  RebaseRequest,
  ReloadRequest,
  RemountSettings,
  Settings,
  StatusSettings,
  TemplateSettings,
  TokenRequest,
  UserRequest,
  ViewRequest,
  ViewSettings,
} from './settings.ts'
export { bytesOf } from './size.ts'
export type { ResetRules, RunRequest, SnapshotCounts, SnapshotRequest, TrashRequest } from './snapshot-settings.ts'
export type { TlsClientPolicy, TlsSettings } from './tls-options.ts'
