import test from 'ava';
import { setTimeout as delay } from 'node:timers/promises';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { openLaptop, type Laptop } from './laptop.ts';
import { killAtRandom } from './up-crashes.ts';

let stage: ClusterStage;
let laptop: Laptop;
const answer = /^dependency on web-\S+ is well$/m;

test.before(async (t) => {
  stage = await openClusterStage('outage', ['test/e2e/up.yaml', 'deploy/gateway.yaml'], (line) => t.log(line));
  laptop = await openLaptop(stage);
});
test.after.always(async () => {
  await laptop[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

/** Milliseconds until a name is answered and a flow through the cluster too, each asked anew; gives up after 20 s. */
async function untilItWorks(): Promise<number> {
  const started = performance.now();
  for (;;) {
    const outcome = await laptop.user.run('curl', '-sS', '-m', '2', 'http://web/status');
    const milliseconds = Math.round(performance.now() - started);
    if (answer.test(outcome.stdout)) return milliseconds;
    if (milliseconds > 20_000) throw new Error(`it does not work: ${outcome.stderr}`);
    await delay(50);
  }
}

test.serial('up after a pause of 60 s: names and flows work again within 5 s', async (t) => {
  const up = await laptop.up();
  t.is(up.code, 0, up.stderr);
  await untilItWorks();
  const processes = laptop.processes();
  t.true(processes.length > 0);
  for (const { pid } of processes) process.kill(pid, 'SIGSTOP');
  await delay(60_000);
  for (const { pid } of processes) process.kill(pid, 'SIGCONT');
  const milliseconds = await untilItWorks();
  t.log(`${milliseconds} ms`);
  t.true(milliseconds < 5000, `${milliseconds} ms`);
});

test.serial('up when the default route and the way to the API server change: names and flows work again within 5 s', async (t) => {
  // As from one Wi-Fi to another: the addresses that the connections were made from are gone.
  const script = `set -e
old=$(ip -4 -brief address show dev lan0 | awk '{ print $3 }')
new=$(echo "$old" | awk -F'[./]' '{ print $1 "." $2 "." $3 "." ($4 == 77 ? 78 : 77) "/" $5 }')
ip address del "$old" dev lan0
ip address add "$new" dev lan0
ip route replace default via 192.0.2.1 metric 7
`;
  await laptop.network.run('sh', ['-c', script]);
  const milliseconds = await untilItWorks();
  t.log(`${milliseconds} ms`);
  t.true(milliseconds < 5000, `${milliseconds} ms`);
  t.is(
    await laptop.user.out('curl', '-4', '-sS', '-m', '5', `http://${laptop.internet.web.name}/`),
    `caller ${laptop.internet.laptop.ipv4}\n`,
  );
  t.is((await laptop.down()).code, 0);
});

test.serial('up whose processes are killed at random moments leaves nothing, or what the next kpctl repairs and tells', async (t) => {
  await laptop.down();
  const before = await laptop.state();
  const seed = Date.now() % 100_000;
  const { wrong, ...counts } = await killAtRandom(laptop, before, { rounds: 6, seed });
  t.log(`seed ${seed}: ${JSON.stringify(counts)}`);
  t.deepEqual(wrong, [], `seed ${seed}`);
});
