import { createServer } from 'node:net';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { servedByAll } from '../../../src/operator/certificates/served.ts';
import { WebhookServer } from '../../../src/operator/webhook/server.ts';
import { ImitatedApi } from '../../unit/operator/imitated-api.ts';
import { issueServing, webhookName as host } from './certificates.ts';

const namespace = 'kpeering-system';

/** An API with our Deployment, whose replicas have these addresses. */
function replicas(...addresses: readonly (string | undefined)[]): ImitatedApi {
  const api = new ImitatedApi();
  const spec = { selector: { matchLabels: { app: 'kpeering' } }, template: { spec: { containers: [] } } };
  api.put(`deployments/${namespace}/kpeering-operator`, { metadata: { name: 'kpeering-operator', namespace }, spec });
  addresses.forEach((podIP, index) => {
    const name = `replica-${index}`;
    api.put(`pods/${namespace}/${name}`, { metadata: { name, namespace }, spec: { containers: [] }, status: { phase: 'Running', podIP } });
  });
  return api;
}

async function listen(
  t: ExecutionContext,
  address: string,
  port: number,
  certificate: { certificate: string; key: string },
): Promise<WebhookServer> {
  const answer = async () => ({ status: 200, body: '' }) as const;
  const server = await WebhookServer.listen({ host: address, port, certificate, answer, onHandshakeFailed: () => {} });
  t.teardown(async () => await server.close());
  return server;
}

test('all replicas serve a certificate when the last of them does', async (t) => {
  const [old, certificate] = await Promise.all([issueServing(), issueServing()]);
  const one = await listen(t, '127.0.0.1', 0, old);
  const { port } = one;
  const other = await listen(t, '127.0.0.2', port, old);
  // One that does not listen yet, and one that has no address yet.
  const { cluster } = replicas('127.0.0.1', '127.0.0.2', '127.0.0.3', undefined);
  const served = async (): Promise<boolean> => await servedByAll(cluster, { namespace, port, host, certificate });
  t.false(await served());
  one.setCertificate(certificate);
  t.false(await served());
  other.setCertificate(certificate);
  t.true(await served());
});

test('a replica that does not answer, or no TLS, is not known to serve it', async (t) => {
  const certificate = await issueServing();
  const server = createServer((socket) => socket.end('hello\n')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  t.false(await servedByAll(replicas('127.0.0.1').cluster, { namespace, port, host, certificate }));
  const ending = AbortSignal.abort();
  t.false(await servedByAll(replicas('127.0.0.1').cluster, { namespace, port, host, certificate, signal: ending }));
});
