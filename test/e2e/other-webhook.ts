/** A mutating webhook that is not ours: gives a pod's container `web` a readiness probe. Runs in a pod, with its certificate in /tls. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

createServer({ cert: readFileSync('/tls/tls.crt'), key: readFileSync('/tls/tls.key') }, (request, response) => {
  let text = '';
  request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  request.on('end', () => {
    const review: unknown = JSON.parse(text);
    const containers = member(review, 'request', 'object', 'spec', 'containers');
    const index = Array.isArray(containers) ? containers.findIndex((container) => member(container, 'name') === 'web') : -1;
    const value = { tcpSocket: { port: 8080 }, periodSeconds: 7 };
    const known = member(containers, index, 'readinessProbe') !== undefined;
    const patch = known ? [] : [{ op: 'add', path: `/spec/containers/${index}/readinessProbe`, value }];
    const answer = { uid: member(review, 'request', 'uid'), allowed: true, patchType: 'JSONPatch', patch: btoa(JSON.stringify(patch)) };
    response.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }));
  });
}).listen(8443, () => process.stdout.write('listens\n'));

function member(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const key of path)
    found = typeof found === 'object' && found !== null ? Object.entries(found).find(([name]) => name === String(key))?.[1] : undefined;
  return found;
}
