import { ports } from '../../../platform/ports.ts';
import { Failure } from '../../../platform/errors.ts';
import { sidecarOf } from '../../../cluster/workloads.ts';
import { clusterCheck } from '../examination.ts';
import { failed, note, ok, unknown } from '../finding.ts';

/** What the tunnel is carried by, and the rights that it needs. */
export const transportCheck = clusterCheck('transport', async ({ cluster }, examination, options) => {
  const { namespace } = cluster;
  const portForward = { resource: 'pods', subresource: 'portforward', namespace };
  const [create, get, pods] = await Promise.all([
    cluster.can({ ...portForward, verb: 'create' }, options),
    cluster.can({ ...portForward, verb: 'get' }, options),
    examination.pods(),
  ]);
  const rights = `pods/portforward: ${create ? 'create' : 'no create'}, ${get ? 'get' : 'no get'}`;
  const pod = pods.find((candidate) => sidecarOf(candidate) !== undefined);
  if (pod === undefined) {
    return [unknown(`no sidecar here to try a port-forward with; SPDY needs create, WebSocket create and get; you have ${rights}`)];
  }
  try {
    if (cluster.transport === undefined) {
      const stream = await cluster.portForward({ namespace, pod: pod.metadata.name, port: ports.tunnel }, options);
      stream.on('error', () => undefined).destroy();
    }
  } catch (error) {
    if (error instanceof Failure) return [failed('problem', error)];
    throw error;
  }
  const { transport } = cluster;
  if (transport === 'websocket') {
    return [
      note(
        `port-forwards go over WebSocket (slower upwards), which needs create and get; you have ${rights}`,
        'something in front of the API server refuses SPDY: where it can be told to pass an Upgrade to SPDY/3.1, kpctl uses that',
      ),
    ];
  }
  const fallback = get ? '' : '; without get there is no way out over WebSocket where SPDY is refused';
  return [
    ok(`port-forwards go over ${transport === undefined ? 'the API server' : 'SPDY'}, which needs create; you have ${rights}${fallback}`),
  ];
});
