import { z } from 'zod';
import { requireProgram } from '../../src/platform/programs.ts';
import type { Namespace } from '../harness/namespaces.ts';
import { podAddress } from '../integration/pod/pod.ts';
import { bulkPort, httpPort } from './capture-stage.ts';

/** What one run of a load gave. */
export interface LoadResult {
  /** Named values: `MB/s up`. */
  readonly values: Readonly<Record<string, number>>;
  /** How many `unit`s crossed: CPU time is told for each. */
  readonly amount: number;
  readonly unit: 'GB' | 'request' | 'connection';
}

export const loads = {
  up: bulk('up', []),
  down: bulk('down', ['-R']),
  requests: web('requests/s on 16', 'p99 on 16, µs', 'request', ['-c', '16']),
  latency: web('requests/s on 1', 'p99 on 1, µs', 'request', ['-c', '1']),
  paced,
  connections: web('connections/s by 8', 'p99 of a new one, µs', 'connection', ['-c', '8', '-H', 'Connection: close']),
} as const satisfies Record<string, (caller: Namespace, seconds: number) => Promise<LoadResult>>;

export type Load = keyof typeof loads;

/** A load that hangs ends after this much more than its time. */
const PATIENCE_SECONDS = 30;

async function bounded(caller: Namespace, seconds: number, program: string, parameters: readonly string[]): Promise<string> {
  return caller.run(requireProgram('timeout', 'coreutils'), [String(seconds + PATIENCE_SECONDS), program, ...parameters]);
}

const reportSchema = z.object({ end: z.object({ sum_received: z.object({ bytes: z.number(), bits_per_second: z.number() }) }) });

function bulk(direction: string, flags: readonly string[]) {
  return async (caller: Namespace, seconds: number): Promise<LoadResult> => {
    const parameters = ['-c', podAddress, '-p', String(bulkPort), '-t', String(seconds), '-J', ...flags];
    const text = await bounded(caller, seconds, requireProgram('iperf3', 'iperf3'), parameters);
    const { bytes, bits_per_second: rate } = reportSchema.parse(JSON.parse(text)).end.sum_received;
    return { values: { [`MB/s ${direction}`]: rate / 8e6 }, amount: bytes / 1e9, unit: 'GB' };
  };
}

/** `wrk --latency`: closed loop, so its p99 is that of a server which is as busy as it can be, but for one connection. */
function web(rateName: string, tailName: string, unit: 'request' | 'connection', flags: readonly string[]) {
  return async (caller: Namespace, seconds: number): Promise<LoadResult> => {
    const parameters = ['-t', '1', '-d', `${seconds}s`, '--timeout', '20s', '--latency', ...flags, `http://${podAddress}:${httpPort}/`];
    const text = await bounded(caller, seconds, requireProgram('wrk', 'wrk'), parameters);
    const errors = /Socket errors: .*|Non-2xx.*/u.exec(text)?.[0];
    if (errors !== undefined) throw new Error(`wrk: ${errors}`);
    const rate = Number(/Requests\/sec: +([\d.]+)/u.exec(text)?.[1]);
    const amount = Number(/(\d+) requests in/u.exec(text)?.[1]);
    return { values: { [rateName]: rate, [tailName]: microseconds(/99% +([\d.]+)(us|ms|s)/u.exec(text)) }, amount, unit };
  };
}

/** Of all clients together: well below what the slowest of the paths can carry, so that nobody waits for anybody. */
const PACED_REQUESTS = 1600;
const PACED_CLIENTS = 16;

/** Requests at a fixed rate on kept connections: their times are those of the path, and not of a queue in front of a busy machine. */
async function paced(caller: Namespace, seconds: number): Promise<LoadResult> {
  // /run is the world's own.
  const command = 'log=/run/h2load.$$; "$@" --log-file=$log >/dev/null && cut -f 2,3 $log; code=$?; rm -f $log; exit $code';
  const rate = ['-c', String(PACED_CLIENTS), '-D', String(seconds), `--rps=${PACED_REQUESTS / PACED_CLIENTS}`];
  const program = [requireProgram('h2load', 'nghttp2-client'), '--h1', ...rate, `http://${podAddress}:${httpPort}/`];
  const text = await bounded(caller, seconds, 'sh', ['-c', command, 'sh', ...program]);
  const lines = text.trim().split('\n');
  const times = lines.map((line) => Number(line.split('\t')[1])).toSorted((a, b) => a - b);
  const failed = lines.filter((line) => !line.startsWith('200\t')).length;
  if (failed > 0) throw new Error(`h2load: ${failed} of ${lines.length} requests failed`);
  const at = (share: number): number => times[Math.floor((times.length - 1) * share)] ?? Number.NaN;
  const name = `at ${PACED_REQUESTS}/s, µs`;
  return { values: { [`p50 ${name}`]: at(0.5), [`p99 ${name}`]: at(0.99) }, amount: times.length, unit: 'request' };
}

const scales: Readonly<Record<string, number>> = { us: 1, ms: 1e3, s: 1e6 };

function microseconds(found: RegExpExecArray | null): number {
  return Number(found?.[1]) * (scales[found?.[2] ?? ''] ?? Number.NaN);
}
