import type { Duplex } from 'node:stream';
import type { ExecutionContext } from 'ava';
import type { Transport } from '../../../src/cluster/types.ts';
import { startPortForwardApi } from './port-forward-api.ts';

/** Both ends of a port-forward: the laptop's, and what the pod's port is given. */
export function portForwardPair(transport: Transport): (t: ExecutionContext) => Promise<readonly [Duplex, Duplex]> {
  return async (t) => {
    const far = Promise.withResolvers<Duplex>();
    const serve = (data: Duplex, errors: Duplex): void => {
      errors.resume();
      // as the kubelet: when one side is over, so is the connection
      data.once('close', () => errors.end());
      far.resolve(data);
    };
    const { cluster } = await startPortForwardApi(t, serve, { transport });
    const near = await cluster.portForward({ namespace: 'shop', pod: 'web-1', port: 15310 });
    return [near, await far.promise];
  };
}
