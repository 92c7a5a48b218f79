import test from 'ava';
import type { FlowLine, FlowMessage } from '../../../../src/kpctl/flows/flow-messages.ts';
import { bytes, duration, flowLine, flowTable } from '../../../../src/kpctl/flows/print-flow.ts';
import type { Program } from '../../../../src/kpctl/flows/programs/index.ts';
import { SeenFlows, type FlowEvent } from '../../../../src/kpctl/flows/seen-flows.ts';

function flow(id: number, changes: Partial<FlowMessage> = {}): FlowMessage {
  const source = { address: '198.18.0.2', port: 40_000 + id };
  const destination = { address: '10.96.0.7', port: 80 };
  return {
    id,
    direction: 'out',
    protocol: 'tcp',
    source,
    destination,
    via: 'cluster',
    state: 'open',
    sent: 0,
    received: 0,
    since: 1_000,
    program: { local: source, remote: destination },
    ...changes,
  };
}

const list: FlowLine = { event: 'list', pid: 77, kind: 'run', unlisted: 0 };

/** Flows of one kpctl, and what is told of them; `programs` by the local port. */
function seen(programs: Record<number, Program> = {}): { flows: SeenFlows; events: FlowEvent[]; asked: number[] } {
  const events: FlowEvent[] = [];
  const asked: number[] = [];
  const flows = new SeenFlows(
    async (sought) => {
      const ports = sought.map(({ flow: { program } }) => program.local.port);
      asked.push(...ports);
      return await Promise.resolve(ports.map((port) => programs[port]));
    },
    (event) => void events.push(event),
  );
  return { flows, events, asked };
}

test('a flow is told of when its program has been looked for, which is done once where it is found', async (t) => {
  const { flows, events, asked } = seen({ 40_001: { pid: 5, name: 'curl' } });
  for (const line of [list, { event: 'flow', flow: flow(1) }, { event: 'listed' }] as const) flows.take(line);
  t.deepEqual(events, []);
  await flows.settled();
  flows.take({ event: 'counted', flow: flow(1, { sent: 3 }) });
  await flows.settled();
  t.deepEqual(
    events.map(({ event, program, flow: { sent } }) => [event, program?.name, sent]),
    [
      ['listed', 'curl', 0],
      ['counted', 'curl', 3],
    ],
  );
  t.deepEqual(asked, [40_001]);
});

test('a flow that ends before anybody has looked is told once, and what a second listing lacks has ended', async (t) => {
  const { flows, events } = seen();
  for (const line of [list, { event: 'flow', flow: flow(1) }, { event: 'listed' }] as const) flows.take(line);
  await flows.settled();
  flows.take({ event: 'opened', flow: flow(2) });
  flows.take({ event: 'ended', flow: flow(2, { state: 'ended', sent: 9 }) });
  for (const line of [list, { event: 'flow', flow: flow(3) }, { event: 'listed' }] as const) flows.take(line);
  await flows.settled();
  t.deepEqual(
    events.map(({ event, flow: { id } }) => `${event} ${id}`),
    ['listed 1', 'ended 2', 'ended 1', 'listed 3'],
  );
  flows.end();
  t.is(events.at(-1)?.flow.why, 'kpctl has ended');
  t.deepEqual(flows.flows, []);
});

test('the table has those of one program together, whoever is not known last, and names before addresses', (t) => {
  const carrier = { pid: 77, kind: 'run' } as const;
  const rows = flowTable(
    [
      { carrier, program: undefined, flow: flow(1) },
      {
        carrier,
        program: { user: 'postgres' },
        flow: flow(2, { via: 'direct', asked: 'example.com', destination: { address: '192.0.2.1', port: 443 } }),
      },
      {
        carrier,
        program: { pid: 9, name: 'node' },
        flow: flow(3, { name: 'web.shop', since: 4_000, pod: 'kpeering-system/kpeering-gateway-1' }),
      },
      { carrier, program: { pid: 9, name: 'node' }, flow: flow(4, { direction: 'in', sent: 2048, received: 10, pod: 'shop/web-1' }) },
    ],
    61_000,
  );
  t.deepEqual(
    rows.map((row) => row.replaceAll(/ {2,}/g, '  ')),
    [
      'PROCESS  PID  DIR  PROTO  PEER  SENT  RECEIVED  STATE  AGE  POD  KPCTL',
      'node  9  in  tcp  198.18.0.2:40004  2 KiB  10 B  open  60s  web-1  run 77',
      'node  9  out  tcp  web.shop:80  0 B  0 B  open  57s  kpeering-gateway-1  run 77',
      '?  -  out  tcp  10.96.0.7:80  0 B  0 B  open  60s  -  run 77',
      '(postgres)  -  out  tcp  example.com:443  0 B  0 B  open  60s  (direct)  run 77',
    ],
  );
  t.is(
    flowLine(
      { event: 'ended', carrier, program: { pid: 9, name: 'node' }, flow: flow(3, { sent: 5, until: 3_000, why: 'reset by the far end' }) },
      61_000,
    ),
    'ended tcp node (9) to 10.96.0.7:80: 5 B sent, 0 B received, 2s (reset by the far end)',
  );
});

test('bytes and ages are short', (t) => {
  t.deepEqual([0, 1023, 1536, 20 * 1024 ** 2, 3 * 1024 ** 4].map(bytes), ['0 B', '1023 B', '1.5 KiB', '20 MiB', '3 TiB']);
  t.deepEqual([0, 119_000, 150_000, 3_600_000, 7_200_000, 200 * 3_600_000].map(duration), ['0s', '119s', '2m30s', '60m', '2h', '8d']);
});

test('what a program calls itself and has asked for cannot speak to the terminal', (t) => {
  const text = flowLine(
    {
      event: 'ended',
      carrier: { pid: 77, kind: 'up' },
      flow: flow(1, { asked: 'a\u001B[2Jb', why: 'no\nmore', state: 'ended', until: 2_000 }),
      program: { pid: 5, name: 'x\u001B]0;root\u0007' },
    },
    2_000,
  );
  t.is(text, 'ended tcp x\u{fffd}]0;root\u{fffd} (5) to a\u{fffd}[2Jb:80: 0 B sent, 0 B received, 1s (no more)');
});
