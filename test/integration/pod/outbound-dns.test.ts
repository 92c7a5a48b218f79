import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { requireProgram } from '../../../src/platform/programs.ts';
import { Pod, nodeAddress, nodeAddress6, tproxy } from './pod.ts';

for (const mode of ['tproxy', 'redirect'] as const) {
  test.serial(
    `${mode} mode: the pod's DNS, UDP and TCP, goes through the sidecar to the pod's name servers, the next one when one is silent`,
    async (t) => {
      await using pod = await Pod.start();
      await pod.sidecar.terminate(pod.namespace, 'KILL');
      await pod.sidecar.exited;
      // Nobody answers at the first; the second has one name.
      const silent = '10.77.0.99';
      const resolvConf = join(pod.shared, 'resolv.conf');
      writeFileSync(resolvConf, `nameserver ${silent}\nnameserver ${nodeAddress}\noptions timeout:2\n`);
      await pod.node.run('mount', ['--bind', resolvConf, '/etc/resolv.conf']);
      const flags = [
        '--no-daemon',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--pid-file=',
        '--user=root',
        '--bind-interfaces',
      ];
      const words = [`--listen-address=${nodeAddress},${nodeAddress6}`, '--address=/db.shop/10.1.2.3'];
      const server = pod.node.spawn(requireProgram('dnsmasq', 'dnsmasq-base'), [...flags, ...words], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let log = '';
      server.stderr?.on('data', (chunk: Buffer) => (log += String(chunk)));
      while (!log.includes('started, version')) {
        if (server.exitCode !== null) throw new Error(log);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await pod.reconfigure({ ...tproxy, KPEERING_MODE: mode, KPEERING_DNS: '1' });
      // The app asks another address than the servers of resolv.conf, where nobody is: so an answer has come through the sidecar.
      for (const flags of [[], ['+tcp']]) {
        for (const asked of ['10.77.0.98', 'fd77::98']) {
          const answer = await pod.namespace.run('dig', [`@${asked}`, 'db.shop', '+short', '+tries=3', '+time=5', ...flags]);
          t.is(answer.trim(), '10.1.2.3', `${asked} ${flags.join(' ')}`);
        }
      }
      await pod.sidecar.terminate(pod.namespace);
      t.is(await pod.sidecar.exited, 0);
    },
  );
}
