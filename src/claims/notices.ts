/** The notice, without parameters, of a pod whose kpeering is about to end: it serves what it has, and takes no new tunnels. */
export const DRAINING_NOTICE = 'draining';
