/** The address against which the limits of a client count. Clients are identified by `ADDRESS NAME`, and can invent the name. */
export function addressOfClient(client: string): string {
  const end = client.indexOf(' ')
  return end < 0 ? client : client.slice(0, end)
}
