import { existsSync, writeFileSync } from 'node:fs';
import type { Logger } from '../../platform/log.ts';
import { requireProgram } from '../../platform/programs.ts';
import { mustRun } from '../run.ts';
import { labAddresses as addresses } from './addresses.ts';
import { nodeRules, type ServicePortRule } from './rules.ts';

/** The first address of the pods' range belongs to the bridge; a fixed MAC, because a bridge takes its ports' lowest otherwise. */
const bridgeMac = '02:0a:f4:00:00:01';

/** Brings the node's network up: the bridge, the Services' routes, the addresses of the API server and the DNS. */
export async function setUpNode(): Promise<void> {
  const conf = '/proc/sys/net/ipv4/conf';
  // New namespaces may inherit the machine's own settings (net.core.devconf_inherit_init_net).
  for (const scope of ['all', 'default']) {
    writeFileSync(`${conf}/${scope}/rp_filter`, '0');
    writeFileSync(`${conf}/${scope}/send_redirects`, '0');
  }
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  const lines = [
    'link set lo up',
    `link add pods address ${bridgeMac} type bridge`,
    `address add ${addresses.podGateway}/32 dev pods`,
    'link set pods up',
    `route add ${addresses.podRange} dev pods src ${addresses.podGateway}`,
    `route add ${addresses.serviceRange} dev pods src ${addresses.podGateway}`,
    `address add ${addresses.dns}/32 dev lo`,
    `address add ${addresses.node}/32 dev lo`,
  ];
  await Promise.all([
    mustRun([requireProgram('ip', 'iproute2'), '-batch', '-'], { input: `${lines.join('\n')}\n` }),
    mustRun([requireProgram('nft', 'nftables'), '-f', '-'], { input: nodeRules([]) }),
  ]);
  // The pods' packets are routed, and seen by netfilter once (only where the kernel has br_netfilter).
  const bridgeFilter = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  if (existsSync(bridgeFilter)) writeFileSync(bridgeFilter, '0');
}

/** Applies Services' rules, the newest state only: states that come while one is applied are joined. */
export class ServiceRules {
  readonly #log: Logger;
  #wanted = '';
  #applied = nodeRules([]);
  #running: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  set(ports: readonly ServicePortRule[]): void {
    this.#wanted = nodeRules(ports);
    this.#running ??= this.#run();
  }

  /** Resolves when what was set is in the kernel. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Not in the caller's turn: `#running` must be set before this ends.
    await Promise.resolve();
    try {
      while (this.#applied !== this.#wanted) {
        const rules = this.#wanted;
        await mustRun([requireProgram('nft', 'nftables'), '-f', '-'], { input: rules });
        this.#applied = rules;
      }
    } catch (error) {
      this.#log.error({ err: error }, "the Services' rules");
    } finally {
      this.#running = undefined;
    }
  }
}
