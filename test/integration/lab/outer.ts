import { fileURLToPath } from 'node:url';
import { enterLab } from '../../../src/lab/index.ts';

/** Stands for `kpctl demo`: the parent of a lab, to be killed by the test. Prints the lab's process id when it is up. */
const inside = fileURLToPath(new URL('inside-main.ts', import.meta.url));
const lab = await enterLab([process.execPath, '--disable-warning=ExperimentalWarning', inside, 'stay', process.argv[2] ?? ''], {
  listenOutside: true,
});
lab.child.on('message', () => process.stdout.write(`up ${lab.child.pid}\n`));
await lab.ended;
