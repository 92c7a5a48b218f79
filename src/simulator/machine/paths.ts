/**
 * The folder of the journals: what every `kpctl up` of this machine has changed, a file for each network namespace. It is there only while
 * something is changed, or was left changed. Root's, readable by all. This file imports nothing: every `kpctl` looks.
 */
export const journalDirectory = '/var/lib/kpctl/journal';
