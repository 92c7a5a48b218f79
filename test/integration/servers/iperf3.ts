import { z } from 'zod';
import { requireProgram } from '../../../src/platform/programs.ts';
import type { ServerCase, Site } from './server-case.ts';

const port = 5201;
const udpPort = 5202;

const reportSchema = z.object({
  error: z.string().optional(),
  end: z.object({
    sum_sent: z.object({ bytes: z.number() }).optional(),
    sum_received: z.object({ bytes: z.number() }).optional(),
    sum: z.object({ packets: z.number(), lost_percent: z.number() }).optional(),
  }),
});

async function measure({ caller, host }: Site, serverPort: number, ...flags: string[]) {
  const parameters = ['-c', host, '-p', String(serverPort), '-J', ...flags];
  const { stdout } = await caller.attempt(requireProgram('iperf3', 'iperf3'), parameters);
  return reportSchema.parse(JSON.parse(stdout));
}

async function start(place: Parameters<ServerCase['start']>[0], name: string, serverPort: number): Promise<void> {
  const parameters = ['-s', '-p', String(serverPort), '--forceflush'];
  await place.start(name, requireProgram('iperf3', 'iperf3'), parameters, 'Server listening');
}

const bytes = 64 * 1024 * 1024;
const directions = [
  { name: 'to the server', flags: [] },
  { name: 'from the server', flags: ['-R'] },
] as const;

export const iperf3: ServerCase = {
  name: 'iperf3',
  flows: [{ protocol: 'tcp', port }],
  start: async (place) => start(place, 'iperf3', port),
  checks: [1, 4].flatMap((connections) =>
    directions.map(({ name, flags }) => ({
      title: `64 MiB ${name} on ${connections} connection${connections === 1 ? '' : 's'}`,
      expected: { error: undefined, sent: true, arrived: true },
      observe: async (site) => {
        const { error, end } = await measure(site, port, '-n', String(bytes), '-P', String(connections), ...flags);
        // It ends the test when all has been sent: what is still on its way then is not counted as received.
        return { error, sent: (end.sum_sent?.bytes ?? 0) >= bytes, arrived: (end.sum_received?.bytes ?? 0) > 0 };
      },
    })),
  ),
};

export const iperf3Udp: ServerCase = {
  name: 'iperf3 -u',
  flows: [
    { protocol: 'tcp', port: udpPort },
    { protocol: 'udp', port: udpPort },
  ],
  start: async (place) => start(place, 'iperf3-udp', udpPort),
  checks: directions.map(({ name, flags }) => ({
    title: `datagrams ${name}, at a rate that a busy machine can take`,
    expected: { error: undefined, sent: true, arrived: true },
    observe: async (site) => {
      const { error, end } = await measure(site, udpPort, '-u', '-b', '2M', '-l', '1200', '-t', '1', ...flags);
      return { error, sent: (end.sum?.packets ?? 0) > 100, arrived: (end.sum?.lost_percent ?? 100) < 2 };
    },
  })),
};
