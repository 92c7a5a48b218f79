import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { z } from 'zod';
import type { CallersReport } from './callers.ts';
import { Pod, podAddress, podAddress6, tproxy } from './pod.ts';

const callers = fileURLToPath(new URL('callers.ts', import.meta.url));
const cycles = 60;
const reportSchema: z.ZodType<CallersReport> = z.object({
  answers: z.record(z.string(), z.number()),
  failures: z.record(z.string(), z.number()),
});

for (const [family, host] of [
  ['IPv4', podAddress],
  ['IPv6', podAddress6],
] as const) {
  test.serial(`no connection fails while a listener is opened and released again and again, by ${family}`, async (t) => {
    await using pod = await Pod.start([], { ...tproxy, KPEERING_INBOUND_PORTS: '8101' });
    await pod.serve(8101, (socket) => socket.end('the app'), '::');
    const laptop = await pod.laptop((incoming) => {
      const stream = incoming.accept();
      stream.attach({ data: () => undefined, end: () => undefined, reset: () => undefined, drain: () => undefined });
      stream.write(Buffer.from('the laptop'));
      stream.end();
    });
    const child = pod.node.spawn(process.execPath, [callers, host, '8101', '16'], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('no stdout');
    const output = text(child.stdout);
    for (let cycle = 0; cycle < cycles; cycle += 1) {
      await laptop.claim(8101);
      // Some cycles are so short that the listener is opened again while it drains.
      if (cycle % 3 !== 0) await new Promise((resolve) => setTimeout(resolve, cycle));
      await laptop.release(8101);
      if (cycle % 2 === 0) await new Promise((resolve) => setTimeout(resolve, cycle));
    }
    child.stdin?.end();
    const report = reportSchema.parse(JSON.parse(await output));
    t.log(report);
    t.deepEqual(report.failures, {});
    t.deepEqual(Object.keys(report.answers).sort(), ['the app', 'the laptop']);
    await laptop.session.close();
  });
}
