/**
 * Has the API server admit pods, as a dry run that stores nothing, until SIGTERM: `admissions.ts NAMESPACE MANIFEST CONCURRENCY PER-SECOND`. The
 * manifest is the pod as JSON. Prints `begun` with the first answer, and at last a line of JSON: how many were admitted, how many of these without a
 * sidecar, what failed, and the times that the API server took, in milliseconds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectCluster } from '../../src/cluster/connect.ts';
import { pods } from '../../src/cluster/resources.ts';
import type { Manifest } from '../../src/cluster/types.ts';

const [namespace = '', text = '{}', concurrency = '1', perSecond = '10'] = process.argv.slice(2);
const manifest = JSON.parse(text) as unknown;
if (!isManifest(manifest)) throw new Error('the manifest is no pod');
const pod = manifest;
const ending = new AbortController();
process.on('SIGTERM', () => ending.abort());
await using cluster = await connectCluster({ namespace });
const times: number[] = [];
const failures: string[] = [];
let bare = 0;
let begun = 0;
const start = performance.now();

async function caller(): Promise<void> {
  while (!ending.signal.aborted) {
    const due = start + (begun++ * 1000) / Number(perSecond);
    const pause = due - performance.now();
    if (pause > 0) await sleep(pause);
    const before = performance.now();
    try {
      const admitted = await cluster.create(pods, pod, { dryRun: true });
      times.push(performance.now() - before);
      if (admitted.metadata.labels['kpeering.io/injected'] !== 'true') bare++;
    } catch (error) {
      failures.push(String(error));
    }
    if (times.length + failures.length === 1) process.stdout.write('begun\n');
  }
}

await Promise.all(Array.from({ length: Number(concurrency) }, caller));
times.sort((one, other) => one - other);
const at = (share: number): number => Number((times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0).toFixed(2));
const result = {
  admitted: times.length,
  bare,
  failed: failures.length,
  first: failures[0],
  p50: at(0.5),
  p90: at(0.9),
  p99: at(0.99),
  most: at(1),
};
process.stdout.write(`${JSON.stringify(result)}\n`);

function isManifest(value: unknown): value is Manifest {
  return (
    typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'Pod' && 'apiVersion' in value && 'metadata' in value
  );
}
