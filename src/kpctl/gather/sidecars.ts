import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { askSidecars } from '../doctor/sidecars.ts';
import type { Contents } from './contents.ts';
import { tried } from './tried.ts';

/** What running sidecars say of themselves: their rules, claims and metrics. */
export async function collectSidecars(cluster: Cluster, pods: readonly Pod[], contents: Contents, options: AbortOptions): Promise<void> {
  const told = await tried('what the sidecars say', contents, options, async (abort) => await askSidecars(cluster, pods, abort));
  for (const { pod, told: said, why, metrics } of told?.answers ?? []) {
    const folder = `sidecars/${pod.metadata.namespace ?? cluster.namespace}/${pod.metadata.name}`;
    if (said === undefined) contents.lacks(`${folder}: ${why ?? 'no answer'}`);
    else {
      contents.json(`${folder}/rules.json`, said.rules ?? {});
      contents.json(`${folder}/claims.json`, { software: said.software, claims: said.claims });
    }
    if (metrics === undefined) contents.lacks(`${folder}/metrics.txt`);
    else contents.text(`${folder}/metrics.txt`, metrics);
  }
}
