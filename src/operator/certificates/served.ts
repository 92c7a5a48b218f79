import { connect } from 'node:tls';
import { formatSelector } from '../../cluster/label-selector.ts';
import { deployments, pods } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { systemCode } from '../../platform/errors.ts';
import { OPERATOR_NAME } from '../names.ts';
import type { ServingCertificate } from './contents.ts';

const PATIENCE_MILLISECONDS = 3_000;

export interface ServedOptions extends AbortOptions {
  readonly namespace: string;
  /** Of the webhook, in every replica. */
  readonly port: number;
  /** The name that the API server calls. */
  readonly host: string;
  readonly certificate: ServingCertificate;
}

/**
 * Whether every replica of the operator serves `certificate` now, by a TLS handshake with each. One that does not listen (yet) reads the Secret
 * before it does; one that cannot be asked counts as one that does not serve it.
 */
export async function servedByAll(cluster: Cluster, options: ServedOptions): Promise<boolean> {
  const { namespace } = options;
  const signal = deadline(10_000, options.signal);
  const { spec } = await cluster.get(deployments, OPERATOR_NAME, { namespace, signal });
  const replicas = await cluster.list(pods, { namespace, labelSelector: formatSelector(spec.selector), signal });
  const addresses = replicas.flatMap(({ status }) =>
    status.podIP === undefined || status.phase === 'Succeeded' || status.phase === 'Failed' ? [] : [status.podIP],
  );
  const served = await Promise.all(addresses.map(async (address) => await servesIt(address, options, signal)));
  return served.every(Boolean);
}

async function servesIt(address: string, { port, host, certificate }: ServedOptions, signal: AbortSignal): Promise<boolean> {
  return await new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const socket = connect({ host: address, port, servername: host, ca: [certificate.authority] });
    function answer(served: boolean): void {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(served);
    }
    const onAbort = (): void => answer(false);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.setTimeout(PATIENCE_MILLISECONDS, () => answer(false));
    socket.on('secureConnect', () => answer(true)).on('error', (error) => answer(systemCode(error) === 'ECONNREFUSED'));
  });
}
