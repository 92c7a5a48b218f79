import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireProgram } from '../../../src/platform/programs.ts';
import { sha256 } from './bytes.ts';
import type { ServerCase } from './server-case.ts';

const port = 2525;
/** Debian's own, which finds Debian's packages; PATH may name another one first. */
const debianPython = '/usr/bin/python3';
const attachment = Array.from({ length: 20_000 }, (_, line) => `line ${line} of the message`).join('\r\n');

export const smtp: ServerCase = {
  name: 'SMTP (aiosmtpd)',
  flows: [{ protocol: 'tcp', port }],
  start: async (place) => {
    const handler = ['-c', 'aiosmtpd.handlers.Mailbox', place.path('mail')];
    // -n: it does not change its user; -dd: it says when it listens.
    const parameters = ['-m', 'aiosmtpd', '-n', '-dd', '-l', `0.0.0.0:${port}`, ...handler];
    await place.start('aiosmtpd', debianPython, parameters, 'Starting asyncio loop');
  },
  checks: [
    {
      title: 'the server speaks first',
      expected: '220',
      observe: async (site) => {
        const socket = await site.caller.connect({ host: site.host, port });
        const data: unknown[] = await once(socket, 'data');
        const [greeting] = data;
        socket.destroy();
        return String(greeting).slice(0, 3);
      },
    },
    {
      title: 'a mail of 500 kB is delivered, unchanged',
      expected: { mails: 1, from: 'a@example.org', hash: sha256(attachment.replaceAll('\r\n', '\n')) },
      observe: async ({ caller, host, server }) => {
        const message = `From: a@example.org\r\nTo: b@example.org\r\nSubject: test\r\n\r\n${attachment}\r\n`;
        const envelope = ['--mail-from', 'a@example.org', '--mail-rcpt', 'b@example.org', '--upload-file', '-'];
        const flags = ['--silent', '--show-error', '--max-time', '60'];
        await caller.run(requireProgram('curl', 'curl'), [...flags, ...envelope, `smtp://${host}:${port}`], { input: message });
        const folder = join(server.path('mail'), 'new');
        const mails = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
        const [header = '', ...body] = (mails[0] ?? '').split('\n\n');
        return { mails: mails.length, from: /^From: (.*)$/mu.exec(header)?.[1], hash: sha256(body.join('\n\n').trimEnd()) };
      },
    },
  ],
};
