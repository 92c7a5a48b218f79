import { requireProgram } from '../../../src/platform/programs.ts';
import type { ServerCase, Site } from './server-case.ts';

const port = 5353;
/** Larger than a datagram without EDNS may be (512 bytes, RFC 1035), smaller than one with it. */
const strings = Array.from({ length: 12 }, (_, index) => `${index}`.padStart(200, 'x'));

interface Answer {
  readonly status: string | undefined;
  readonly truncated: boolean;
  readonly answers: readonly string[];
}

async function dig({ caller, host }: Site, ...words: string[]): Promise<Answer> {
  const parameters = [`@${host}`, '-p', String(port), '+tries=1', '+time=30', '+noall', '+comments', '+answer', ...words];
  const text = await caller.run(requireProgram('dig', 'bind9-dnsutils'), parameters);
  return {
    status: /status: (\w+)/u.exec(text)?.[1],
    truncated: /flags:[a-z ]* tc[ ;]/u.test(text),
    answers: text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(';'))
      .map((line) => line.split('\t').at(-1) ?? ''),
  };
}

const found = (answers: readonly string[]): Answer => ({ status: 'NOERROR', truncated: false, answers });
const large = found([strings.map((text) => `"${text}"`).join(' ')]);

export const dns: ServerCase = {
  name: 'DNS (dnsmasq)',
  flows: [
    { protocol: 'tcp', port },
    { protocol: 'udp', port },
  ],
  start: async (place) => {
    const own = ['--no-daemon', '--conf-file=/dev/null', '--pid-file=', '--log-facility=-', '--no-resolv', '--no-hosts'];
    const records = ['--host-record=web.test,10.1.2.3,fd00::3', `--txt-record=large.test,${strings.join(',')}`, '--local=/test/'];
    const flags = [...own, `--port=${port}`, '--edns-packet-max=4096', ...records];
    await place.start('dnsmasq', requireProgram('dnsmasq', 'dnsmasq-base'), flags, 'started, version');
  },
  checks: [
    ...(['+notcp', '+tcp'] as const).flatMap((transport) => {
      const name = transport === '+tcp' ? 'TCP' : 'UDP';
      return [
        {
          title: `an A record over ${name}`,
          expected: found(['10.1.2.3']),
          observe: async (site: Site) => dig(site, transport, 'web.test', 'A'),
        },
        {
          title: `an AAAA record over ${name}`,
          expected: found(['fd00::3']),
          observe: async (site: Site) => dig(site, transport, 'web.test', 'AAAA'),
        },
        {
          title: `a name that is not there over ${name}`,
          expected: { status: 'NXDOMAIN', truncated: false, answers: [] },
          observe: async (site: Site) => dig(site, transport, 'no.test', 'A'),
        },
        {
          title: `an answer of 2.4 kB over ${name}`,
          expected: large,
          observe: async (site: Site) => dig(site, transport, '+bufsize=4096', 'large.test', 'TXT'),
        },
      ];
    }),
    {
      title: 'an answer too large for plain UDP is truncated',
      expected: { status: 'NOERROR', truncated: true, answers: [] },
      observe: async (site) => dig(site, '+noedns', '+ignore', 'large.test', 'TXT'),
    },
    {
      title: 'a truncated answer is fetched over TCP',
      expected: large,
      observe: async (site) => dig(site, '+noedns', 'large.test', 'TXT'),
    },
  ],
};
