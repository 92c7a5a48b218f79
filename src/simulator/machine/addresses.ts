/** What `kpctl up` takes for itself on a machine. `inet_service`, marks and tables are numbers that others are unlikely to use. */
export const machineAddresses = {
  /** Our device: captured networks are routed to it, so that clients have a source address that no change of network takes away. */
  device: 'kpctl0',
  /** Its addresses: of RFC 2544's range, apart from the synthetic addresses, and of RFC 4193's. */
  own: '198.19.255.53',
  own6: 'fd6b:7065:6572:ffff::53',
} as const;

/** Firewall marks, beside `packetMark` of our own packets. */
export const marks = {
  /** Datagrams on their way to the listener. */
  captured: 0x6b71,
  /** What kpctl's own processes send into a captured network: it goes the way that it would without us. */
  direct: 0x6b72,
} as const;

/** Routing tables, and the priorities of the rules that lead to them (ip-rule(8)). */
export const routing = {
  /** Everything is local: for datagrams with the mark `captured`. */
  listenerTable: 15301,
  listenerPriority: 5100,
  /** The captured networks. Before `main` (32766), and before what VPNs put in front of that. */
  networksTable: 15300,
  networksPriority: 5101,
} as const;

/** The table of rules that ends with its owner. */
export const tableName = 'kpctl';
