/** The naive multiplexer's end in the pod: `naive-pod.ts PORT TARGET`; says `listens`. */
import { createServer } from 'node:net';
import { naiveFar } from './naive.ts';

const [port, target] = process.argv.slice(2).map(Number);
createServer({ noDelay: true, allowHalfOpen: true }, naiveFar(target ?? 0)).listen(port, '127.0.0.1', () =>
  process.stdout.write('listens\n'),
);
