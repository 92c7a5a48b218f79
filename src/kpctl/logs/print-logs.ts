import type { Readable } from 'node:stream';
import { AnswerError } from '../../cluster/api-failures.ts';
import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { findWorkload, parseWorkload, podsOf } from '../../cluster/workloads.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { findInstallation } from '../doctor/installation.ts';
import { GATEWAY_NAME, OPERATOR_NAME } from '../../operator/names.ts';
import { ourContainers } from '../gather/our-containers.ts';
import { printEvent, printResult, printable, type OutputFormat, type Terminal } from '../terminal.ts';

export interface LogsRequest {
  readonly cluster: Cluster;
  /** A workload, `operator` or `gateway`. */
  readonly name: string;
  readonly follow: boolean;
  readonly previous: boolean;
  readonly tail: number | undefined;
}

interface Source {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/** Prints the logs of our containers in the pods that a name stands for. Failures: NO_LOGS where there are none, and those of the API. */
export async function printLogs(
  request: LogsRequest,
  terminal: Terminal,
  format: OutputFormat,
  options: Required<AbortOptions>,
): Promise<void> {
  const { cluster, name, follow, previous, tail } = request;
  const sources = (await podsNamed(cluster, name, options)).flatMap((pod) =>
    ourContainers(pod).map((container) => ({ namespace: pod.metadata.namespace ?? cluster.namespace, pod: pod.metadata.name, container })),
  );
  if (sources.length === 0) {
    throw new Failure('NO_LOGS', `no pod of ${name} has a container of kpeering`, {
      remedy: 'name a workload that has a sidecar (kpctl list), operator or gateway',
    });
  }
  const wanted = { previous, ...(tail !== undefined && { tailLines: tail }) };
  if (follow) {
    await ofAny(sources, terminal, async (source) => {
      const stream = await cluster.followLog(
        { namespace: source.namespace, name: source.pod },
        { container: source.container, ...wanted, ...options },
      );
      await printStream(stream, source, terminal, format, options);
    });
    return;
  }
  const logs = await ofAny(sources, terminal, async (source) => ({ ...source, lines: await linesOf(cluster, source, wanted, options) }));
  const several = logs.filter(({ lines }) => lines.length > 0).length > 1;
  printResult(terminal, format, logs, () =>
    logs.flatMap(({ lines, ...source }) => lines.map((line) => printable(several ? `${prefix(source)}${line}` : line))),
  );
}

/** What can be had of the sources; of the others a warning says why not. Rejects where none can be had, and with what is no Failure. */
async function ofAny<T>(sources: readonly Source[], terminal: Terminal, work: (source: Source) => Promise<T>): Promise<readonly T[]> {
  const failed: { readonly source: Source; readonly failure: Failure }[] = [];
  const ended = await Promise.all(
    sources.map(async (source) => {
      try {
        return [await work(source)];
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        failed.push({ source, failure: error });
        return [];
      }
    }),
  );
  const [first] = failed;
  if (first !== undefined && failed.length === ended.length) throw first.failure;
  for (const { source, failure } of failed) terminal.warn(`${prefix(source)}${failure.message} [${failure.code}]`);
  return ended.flat();
}

async function linesOf(
  cluster: Cluster,
  { namespace, pod, container }: Source,
  wanted: { readonly previous: boolean; readonly tailLines?: number },
  options: Required<AbortOptions>,
): Promise<readonly string[]> {
  try {
    const text = await cluster.podLog({ namespace, name: pod }, { container, ...wanted, ...options });
    return text.split('\n').filter((line) => line !== '');
  } catch (error) {
    if (hasNoLog(error)) return [];
    throw error;
  }
}

/** A container that has not started, or was never restarted, has no log. An API server that cannot ask the kubelet says 500 or 502. */
function hasNoLog(error: unknown): boolean {
  if (!(error instanceof Failure)) return false;
  return error.code === 'NOT_FOUND' || (error.cause instanceof AnswerError && error.cause.status === 400);
}

async function printStream(
  stream: Readable,
  source: Source,
  terminal: Terminal,
  format: OutputFormat,
  { signal }: Required<AbortOptions>,
): Promise<void> {
  const print = (line: string): void => printEvent(terminal, format, { ...source, line }, printable(`${prefix(source)}${line}`));
  const onAbort = (): void => void stream.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  let rest = '';
  try {
    for await (const chunk of stream.setEncoding('utf8')) {
      const lines = `${rest}${String(chunk)}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) print(line);
    }
    if (rest !== '') print(rest);
  } catch (error) {
    if (!signal.aborted) terminal.warn(`${prefix(source)}the log cannot be followed any longer: ${messageOf(error)}`);
  } finally {
    signal.removeEventListener('abort', onAbort);
    stream.destroy();
  }
  signal.throwIfAborted();
}

function prefix({ pod, container }: Source): string {
  return `[${pod} ${container}] `;
}

async function podsNamed(cluster: Cluster, name: string, options: Required<AbortOptions>): Promise<readonly Pod[]> {
  const own = { operator: OPERATOR_NAME, gateway: GATEWAY_NAME };
  if (name !== 'operator' && name !== 'gateway')
    return await podsOf(cluster, await findWorkload(cluster, parseWorkload(name), options), options);
  const { namespace } = await findInstallation(cluster, options);
  try {
    return await podsOf(cluster, await findWorkload(cluster, { type: 'deployment', name: own[name] }, { namespace, ...options }), options);
  } catch (error) {
    if (error instanceof Failure && error.code === 'WORKLOAD_NOT_FOUND') return [];
    throw error;
  }
}
