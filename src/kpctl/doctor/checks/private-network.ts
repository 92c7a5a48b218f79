import { startPrivateNetwork, privateNetworkAddresses } from '../../../simulator/network/index.ts';
import { Failure } from '../../../platform/errors.ts';
import { silentLogger } from '../../../platform/log.ts';
import type { Closeable } from '../../../platform/owned.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import type { Examination } from '../examination.ts';
import { failed, ok, unknown } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/**
 * Whether this machine lets kpctl make the private network of `kpctl run`: namespaces (for an ordinary user by a user namespace, which AppArmor
 * and sysctls may forbid), rules and routes. It is made, and taken away again.
 */
export function privateNetworkCheck(
  make: (options: Required<AbortOptions>) => Promise<Closeable> = makeNetwork,
  platform: string = process.platform,
): Check<Examination> {
  return {
    id: 'user-namespaces',
    look: async (_, options) => {
      if (platform !== 'linux') return [];
      try {
        await using _network = await make(options);
        const how = process.getuid?.() === 0 ? 'as root, without a user namespace' : 'in a user namespace';
        return [ok(`the private network of kpctl run can be made, ${how}`)];
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        // The check "tools" says it.
        if (error.code === 'PROGRAM_MISSING') return [unknown('not tried: a program is missing')];
        return [failed('problem', error)];
      }
    },
  };
}

async function makeNetwork(options: Required<AbortOptions>): Promise<Closeable> {
  const network = await startPrivateNetwork(
    {
      // Nothing is started in it.
      onFlow: ({ socket }) => void socket.destroy(),
      onAssociation: () => {
        throw new Error('nobody is there to send datagrams');
      },
      onDatagramRefused: () => undefined,
      log: silentLogger,
    },
    options,
  );
  await network.setNames(`nameserver ${privateNetworkAddresses.dns}\n`);
  return network;
}
