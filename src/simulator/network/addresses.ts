/**
 * Addresses inside a private network, all on its `lo`. 198.18.0.0/15 is set aside for benchmarks (RFC 2544), so that
 * neither a cluster nor a home network uses it.
 */
export const privateNetworkAddresses = {
  /** Where COMMAND's connections come from. */
  own: '198.18.0.2',
  /** The resolver, port 53: the nameserver for COMMAND's resolv.conf. */
  dns: '198.18.0.53',
  /** The transparent listener's address; nothing connects to it by this address. */
  capture: '198.18.0.1',
  /** IPv6 counterparts (RFC 4193), present where IPv6 is captured. */
  own6: 'fd00:198:18::2',
  capture6: 'fd00:198:18::1',
  /** Where connections from the laptop into the network come from: a loopback address, and never captured. */
  entry: '127.0.0.6',
} as const;

/** The transparent listeners' port, TCP and UDP. Below 1024, so that no program that chooses a free port gets it. */
export const capturePort = 1;
