/** Which machine is behind an address, for templates that machines boot from. */
export interface MachineNames {
  /** The name of the machine that has booted from this template at this address, or has it for good; undefined if there is none. Counts as a sign of life. */
  nameAt(template: string, address: string): string | undefined
  /** Prepares the view of a machine that mounts it without having asked for a boot script; undefined if there is nothing to do. */
  mounting(template: string, address: string): Promise<void> | undefined
}

/** The name that the view of the machine at an address has in a template: the address itself, unless machines boot from the template. Empty if there is none. */
export function machineAt(
  { name, machines }: { readonly name: string; readonly machines: MachineNames | undefined },
  address: string,
): string {
  return machines === undefined ? address : (machines.nameAt(name, address) ?? '')
}
