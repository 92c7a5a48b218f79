import { requireProgram } from '../../../src/platform/programs.ts';
import { LogLines } from '../../harness/log-lines.ts';
import { sampleBytes, sha256 } from './bytes.ts';
import type { ServerCase } from './server-case.ts';

const sumPort = 7000;
const resettingPort = 7001;
const patientPort = 7002;
/** Seconds that socat stays after one direction has ended: longer than anything here takes. */
const stay = ['-t', '60'];
/** Its close is a RST: no shutdown at the end, and nothing lingers (socket(7), SO_LINGER). */
const reset = 'linger=0,shut-none,end-close';

export const socat: ServerCase = {
  name: 'socat',
  flows: [sumPort, resettingPort, patientPort].map((port) => ({ protocol: 'tcp', port })),
  async start(place) {
    const program = requireProgram('socat', 'socat');
    const listen = (port: number): string => `TCP-LISTEN:${port},fork,reuseaddr`;
    const servers = {
      sum: [listen(sumPort), 'EXEC:sha256sum'],
      resetting: [`${listen(resettingPort)},${reset}`, 'EXEC:head -c 5'],
      patient: [listen(patientPort), 'SYSTEM:echo ready; cat >/dev/null'],
    };
    for (const [name, ends] of Object.entries(servers)) {
      const times = name === 'resetting' ? ['-t', '0'] : stay;
      await place.start(name, program, ['-d', '-d', ...times, ...ends], 'listening on');
    }
  },
  checks: [
    {
      title: "the client's half-close reaches the server, whose answer comes after it",
      expected: sha256(sampleBytes(1_000_000).toString('hex')),
      observe: async ({ caller, host }) => {
        const input = sampleBytes(1_000_000).toString('hex');
        const answer = await caller.run(requireProgram('socat', 'socat'), [...stay, '-', `TCP:${host}:${sumPort}`], { input });
        return answer.split(' ')[0];
      },
    },
    {
      title: "the server's reset is the client's reset",
      expected: true,
      observe: async ({ caller, host }) => {
        const parameters = ['-d', '-d', ...stay, '-', `TCP:${host}:${resettingPort}`];
        const client = caller.spawn(requireProgram('socat', 'socat'), parameters, { stdio: ['pipe', 'pipe', 'pipe'] });
        const log = new LogLines('the client', client);
        client.stdin?.on('error', () => undefined).write('hello');
        return (await log.until('Connection reset by peer')) !== '';
      },
    },
    {
      title: "the client's reset is the server's reset",
      expected: true,
      observe: async ({ caller, host, server }) => {
        // It reads the server's first line, and then resets.
        const ends = ['EXEC:head -c 6', `TCP:${host}:${patientPort},${reset}`];
        await caller.run(requireProgram('socat', 'socat'), ['-t', '0', ...ends]);
        return (await server.log('patient').until('Connection reset by peer')) !== '';
      },
    },
  ],
};
