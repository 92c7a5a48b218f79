import { formatEndpoint } from '../../forwarder/dial.ts';
import { printable, table } from '../terminal.ts';
import type { FlowEvent, SeenFlow } from './seen-flows.ts';

/** A flow for `-o json|yaml`. */
export function flowFields({ carrier, flow, program }: SeenFlow, now: number): object {
  const { id, direction, protocol, source, destination, name, asked, via, pod, state, sent, received, since, until, why } = flow;
  return {
    kpctl: carrier,
    id,
    direction,
    protocol,
    process: program ?? null,
    source,
    destination,
    ...(name !== undefined && { name }),
    ...(asked !== undefined && { asked }),
    via,
    ...(pod !== undefined && { pod }),
    state,
    sent,
    received,
    since: new Date(since).toISOString(),
    ...(until !== undefined && { until: new Date(until).toISOString() }),
    ageSeconds: Math.max(0, Math.round(((until ?? now) - since) / 100) / 10),
    ...(why !== undefined && { why }),
  };
}

const header = ['PROCESS', 'PID', 'DIR', 'PROTO', 'PEER', 'SENT', 'RECEIVED', 'STATE', 'AGE', 'POD', 'KPCTL'];

/** The flows as a table: those of one program together, the oldest first. */
export function flowTable(flows: readonly SeenFlow[], now: number): string[] {
  return table(
    header,
    flows.toSorted(byProgram).map((flow) => cells(flow, now)),
  );
}

/** A line of `--watch` where it goes to no terminal. */
export function flowLine(event: FlowEvent, now: number): string {
  const [process = '', pid = '', direction = '', protocol = '', peer = '', sent = '', received = '', , age = '', pod = ''] = cells(
    event,
    now,
  );
  const who = pid === '-' ? process : `${process} (${pid})`;
  const what = direction === 'out' ? `${who} to ${peer}` : `${peer} to ${who}`;
  const through = pod === '-' ? '' : `, by ${pod}`;
  if (event.event !== 'ended') return oneLine(`${event.event === 'listed' ? 'open' : event.event} ${protocol} ${what}${through}`);
  return oneLine(
    `ended ${protocol} ${what}${through}: ${sent} sent, ${received} received, ${age}${event.flow.why === undefined ? '' : ` (${event.flow.why})`}`,
  );
}

/** What a program calls itself and asks for may have anything in it. */
function oneLine(text: string): string {
  return printable(text).replaceAll('\n', ' ');
}

function cells({ carrier, flow, program }: SeenFlow, now: number): string[] {
  const { direction, protocol, state, sent, received, since, until, pod, via } = flow;
  const name = program?.name ?? (program?.user === undefined ? '?' : `(${program.user})`);
  const where = pod === undefined ? '-' : (pod.split('/').at(-1) ?? pod);
  return [
    name,
    program?.pid === undefined ? '-' : String(program.pid),
    direction,
    protocol,
    peerOf(flow),
    bytes(sent),
    bytes(received),
    state,
    duration((until ?? now) - since),
    via === 'direct' ? '(direct)' : where,
    `${carrier.kind} ${carrier.pid}`,
  ];
}

/** `db.shop:5432`, `example.com:443`, `10.244.1.7:8080`; of what was called here the caller. */
function peerOf({ direction, source, destination, name, asked }: SeenFlow['flow']): string {
  const peer = direction === 'out' ? destination : source;
  const called = name ?? asked;
  return called === undefined ? formatEndpoint(peer) : `${called}:${peer.port}`;
}

function byProgram(one: SeenFlow, other: SeenFlow): number {
  return (
    (one.program?.name ?? '\u{ffff}').localeCompare(other.program?.name ?? '\u{ffff}') ||
    (one.program?.pid ?? 0) - (other.program?.pid ?? 0) ||
    one.flow.since - other.flow.since ||
    one.flow.id - other.flow.id
  );
}

/** `512 B`, `1.5 KiB`, `20 MiB`. */
export function bytes(count: number): string {
  let value = count;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (value < 1024) return `${unit === 'B' || value >= 10 ? Math.round(value) : Math.round(value * 10) / 10} ${unit}`;
    value /= 1024;
  }
  return `${Math.round(value * 10) / 10} TiB`;
}

/** As kubectl has ages: `5s`, `2m30s`, `3h`. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}m${seconds % 60}s`;
  if (minutes < 120) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
}
