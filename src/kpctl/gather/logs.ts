import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import type { Contents } from './contents.ts';
import { tried } from './tried.ts';

/** Of each log, from its end. */
const TAIL_LINES = 5_000;
const LIMIT_BYTES = 512 * 1024;
/** Logs that are fetched at a time. */
const AT_ONCE = 8;

/** The logs of containers, now and before their last restart. */
export async function collectLogs(
  cluster: Cluster,
  wanted: readonly { readonly pod: Pod; readonly containers: readonly string[] }[],
  contents: Contents,
  options: AbortOptions,
): Promise<void> {
  const logs = wanted.flatMap(({ pod, containers }) =>
    containers.flatMap((container) => [
      { pod, container, previous: false },
      ...(restarts(pod, container) > 0 ? [{ pod, container, previous: true }] : []),
    ]),
  );
  const queue = logs.values();
  const fetch = async (): Promise<void> => {
    for (const { pod, container, previous } of queue) {
      const { namespace = cluster.namespace, name } = pod.metadata;
      const what = `logs/${namespace}/${name}/${container}${previous ? '.previous' : ''}.log`;
      const text = await tried(what, contents, options, async (abort) => {
        const bounds = { container, previous, tailLines: TAIL_LINES, limitBytes: LIMIT_BYTES };
        return await cluster.podLog({ namespace, name }, { ...bounds, ...abort });
      });
      if (text !== undefined) contents.text(what, text);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, fetch));
}

function restarts({ status }: Pod, container: string): number {
  const all = [...status.initContainerStatuses, ...status.containerStatuses];
  return all.find(({ name }) => name === container)?.restartCount ?? 0;
}
