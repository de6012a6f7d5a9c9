/** RFC 1833: the portmapper is version 2 of the program, rpcbind versions 3 and 4. */
export const PMAP_PROGRAM = 100000
export const PMAP_V2 = 2
export const RPCB_V3 = 3
export const RPCB_V4 = 4
/** The port of the portmapper. */
export const PMAP_PORT = 111

export const PMAPPROC_SET = 1
export const PMAPPROC_UNSET = 2
export const PMAPPROC_GETPORT = 3
export const PMAPPROC_DUMP = 4
export const RPCBPROC_GETADDR = 3

/** `prot` of version 2. */
export const IPPROTO_TCP = 6
export const IPPROTO_UDP = 17

/** Maximum length of a string from the wire; netids, universal addresses and owners are far shorter. */
export const MAX_RPCB_STRING = 1024
