/**
 * What capture costs those who call a pod: idle TPROXY rules beside none at all; REDIRECT through the sidecar beside none, and beside
 * haproxy in tcp mode redirected by the same rule. nginx, iperf3 and wrk in network namespaces; in turn, in one run.
 *
 *     npm run bench -- capture [--rounds 10] [--seconds 3] [--parts tproxy,aliases,redirect,idle] [--loads up,down,requests,latency,paced,connections] [--json]
 *
 * Every number is the median of the rounds; a ratio is the median of the ratios within each round, with its quartiles and its extremes.
 * The loads: iperf3 to the pod and from it; wrk on 16 kept connections, on one, and with a new connection for each request; h2load at a
 * fixed rate. CPU is that of the sidecar's process, or haproxy's. Needs what `scripts/setup bench` installs. About 12 minutes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { tproxy } from '../integration/pod/pod.ts';
import { loads, type Load } from './capture-load.ts';
import { CaptureStage, type Between } from './capture-stage.ts';
import { median, ratioText } from './ratios.ts';

const parts = ['tproxy', 'aliases', 'redirect', 'idle'];
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '3' },
    parts: { type: 'string', default: parts.join(',') },
    loads: { type: 'string', default: Object.keys(loads).join(',') },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const seconds = Number(options.seconds);
const wantedLoads = options.loads.split(',').filter((name): name is Load => name in loads);

/** By measure, and then by what is between: a value for each round. */
type Samples = Record<string, Partial<Record<Between, number[]>>>;

function note(samples: Samples, measure: string, between: Between, value: number): void {
  ((samples[measure] ??= {})[between] ??= []).push(value);
}

async function measure(stage: CaptureStage, betweens: readonly Between[], title: string): Promise<Samples> {
  const samples: Samples = {};
  for (let round = 0; round < rounds; round += 1) {
    // Another one begins each round: whatever the order does to the machine, it does to all.
    const first = round % betweens.length;
    for (const between of [...betweens.slice(first), ...betweens.slice(0, first)]) {
      await stage.put(between);
      for (const load of wantedLoads) {
        const before = stage.cpuSeconds();
        const { values, amount, unit } = await loads[load](stage.caller, seconds);
        const after = stage.cpuSeconds();
        for (const [name, value] of Object.entries(values)) note(samples, name, between, value);
        if (between === 'none') continue;
        const used = (after[between] - before[between]) / amount;
        if (unit === 'GB') note(samples, `CPU ms/GB ${load}`, between, used * 1e3);
        else note(samples, `CPU µs/${unit} (${load})`, between, used * 1e6);
      }
    }
    process.stderr.write(`${title}: round ${round + 1} of ${rounds}\n`);
  }
  return samples;
}

function print(samples: Samples, columns: readonly Between[], ratios: readonly (readonly [Between, Between])[]): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify(samples)}\n`);
    return;
  }
  const head = [...columns.map((name) => name.padStart(10)), ...ratios.map(([of, to]) => `${of} : ${to}`.padStart(34))];
  process.stdout.write(`${''.padEnd(26)}${head.join('')}\n`);
  for (const [name, byBetween] of Object.entries(samples)) {
    const numbers = columns
      .map((column) => byBetween[column])
      .map((list) => (list === undefined ? '–' : median(list).toFixed(0)).padStart(10));
    const compared = ratios.map(([of, to]) => {
      const [upper, lower] = [byBetween[of], byBetween[to]];
      return (upper === undefined || lower === undefined ? '–' : ratioText(upper, lower)).padStart(34);
    });
    process.stdout.write(`${name.padEnd(26)}${numbers.join('')}${compared.join('')}\n`);
  }
}

async function measureIdle(stage: CaptureStage, mode: string): Promise<void> {
  await stage.put('sidecar');
  const before = stage.cpuSeconds().sidecar;
  const idleSeconds = Math.max(10, seconds);
  await sleep(idleSeconds * 1000);
  const used = ((stage.cpuSeconds().sidecar - before) / idleSeconds) * 1e3;
  const { privateDirty, resident } = stage.memory();
  const memory = `${privateDirty.toFixed(1)} MiB private, ${resident.toFixed(1)} MiB resident`;
  process.stdout.write(`idle sidecar, ${mode}: ${used.toFixed(2)} ms of CPU a second, ${memory}\n`);
}

const wanted = options.parts.split(',');
const idle = wanted.includes('idle');
if (wanted.includes('aliases')) {
  await using stage = await CaptureStage.open(
    { ...tproxy, KPEERING_INBOUND_PORTS: '8080,5201', KPEERING_PROBE_ALIASES: '15400:8080' },
    false,
  );
  process.stdout.write('TPROXY rules with the alias of a probe, nothing claimed\n');
  print(await measure(stage, ['none', 'sidecar'], 'aliases'), ['none', 'sidecar'], [['sidecar', 'none']]);
}
if (idle || wanted.includes('tproxy')) {
  await using stage = await CaptureStage.open(tproxy, false);
  if (idle) await measureIdle(stage, 'tproxy');
  if (wanted.includes('tproxy')) {
    process.stdout.write('TPROXY rules, nothing claimed\n');
    print(await measure(stage, ['none', 'sidecar'], 'tproxy'), ['none', 'sidecar'], [['sidecar', 'none']]);
  }
}
if (idle || wanted.includes('redirect')) {
  const columns = ['none', 'sidecar', 'haproxy'] as const;
  await using stage = await CaptureStage.open({ KPEERING_MODE: 'redirect' }, wanted.includes('redirect'));
  if (idle) await measureIdle(stage, 'redirect');
  if (wanted.includes('redirect')) {
    process.stdout.write('REDIRECT, nothing claimed\n');
    const ratios = [
      ['sidecar', 'none'],
      ['haproxy', 'none'],
      ['sidecar', 'haproxy'],
    ] as const;
    print(await measure(stage, columns, 'redirect'), columns, ratios);
  }
}
