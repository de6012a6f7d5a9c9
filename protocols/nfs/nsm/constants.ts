/** The network status monitor ("Protocols for Interworking: XNFS", chapter 11), which reports restarts. */
export const NSM_PROGRAM = 100024
export const NSM_V1 = 1

export const SM_NOTIFY = 6

/** `res`: whether a host is monitored. */
export const STAT_FAIL = 1

/** Longest name of a host (`SM_MAXSTRLEN`), and the private bytes of SM_MON. */
export const SM_MAXSTRLEN = 1024
export const SM_PRIV_BYTES = 16
