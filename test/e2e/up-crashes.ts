/**
 * Kills what `kpctl up` consists of at random moments, and looks at what is left.
 *
 *   node test/e2e/up-crashes.ts [ROUNDS] [SEED]      200 rounds where none are said; a line for each that was not right
 */
import { setTimeout as delay } from 'node:timers/promises';
import { openClusterStage } from './cluster-stage.ts';
import { openLaptop, type Laptop, type LaptopProcess } from './laptop.ts';
import type { LaptopState } from './laptop-state.ts';

export interface CrashOptions {
  readonly rounds: number;
  /** The same seed has the same victims and, as far as the machine's speed allows, moments. */
  readonly seed: number;
  readonly tell?: (line: string) => void;
}

export interface CrashResult {
  readonly rounds: number;
  /** Rounds after which the machine's settings were as before within a second. */
  readonly clean: number;
  /** Rounds in which something stayed, which the next kpctl repaired and said so. */
  readonly repaired: number;
  /** What neither was clean nor repaired: who was killed when, and what was left. */
  readonly wrong: readonly string[];
  /** Until the last process and file were gone, in milliseconds: the longest. */
  readonly longest: number;
}

/** Every process of `kpctl up`, by what it is. */
function role({ command }: LaptopProcess): string {
  if (/\bnft\b/.test(command)) return 'nft';
  if (/kpctl-helper|helper\/main/.test(command)) return 'helper';
  if (/kpctl-agent|agent-main/.test(command)) return 'agent';
  return /^sudo\b/.test(command) ? 'sudo' : /kpctl\.js up/.test(command) ? 'front' : `other (${command})`;
}

/** Rules, routes, names: what the machine works by. Processes may take longer to end, and with them their files and their device, to which nothing leads. */
const isSetting = (kind: string): boolean => !['processes', 'files', 'links', 'addresses'].includes(kind);
const PATIENCE_MILLISECONDS = 10_000;

/**
 * The settings that were there before must be there within a second after the kill, or after the next kpctl, which must say so; and no process and no
 * file of it may stay.
 */
export async function killAtRandom(laptop: Laptop, before: LaptopState, options: CrashOptions): Promise<CrashResult> {
  const random = randomFrom(options.seed);
  // Half of the kills while it starts, half of them when it works, whatever the speed of the machine.
  const within = 2 * (await timeToReady(laptop));
  options.tell?.(`kills within ${Math.round(within)} ms of the start`);
  const wrong: string[] = [];
  let [clean, repaired, longest] = [0, 0, 0];
  for (let round = 1; round <= options.rounds; round += 1) {
    const up = laptop.up();
    const moment = Math.floor(random() * within);
    const choice = random();
    await delay(moment);
    const running = laptop.processes();
    const victims = choice < 0.15 ? running : running.slice(Math.floor(((choice - 0.15) / 0.85) * running.length)).slice(0, 1);
    for (const { pid } of victims) kill(pid);
    const killed = performance.now();
    const who = victims.length === running.length ? 'all' : victims.map(role).join(', ');
    await up;
    // A front whose work was done when it was killed leaves an up that is well.
    const alive = victims.length === 0 || (who !== 'all' && victims.some((one) => !['helper', 'agent', 'nft'].includes(role(one))));
    if (alive) await laptop.down();
    const settings = await laptop.left(before, alive ? 1000 : Math.max(0, 1000 - (performance.now() - killed)), isSetting);
    const journal = (await laptop.left(before, 0, (kind) => kind === 'files')).some((line) => line.includes('/journal/'));
    const next = settings.length === 0 && !journal ? undefined : await laptop.user.run('sudo', ...laptop.kpctl, 'status');
    await laptop.user.run(...laptop.kpctl, 'status'); // removes the socket of one that was killed
    const left = await laptop.left(before, PATIENCE_MILLISECONDS);
    longest = Math.max(longest, performance.now() - killed);
    const label = `round ${round}: ${who === '' ? 'nobody' : who} killed after ${moment} ms`;
    const said = `${next?.stderr ?? ''}${next?.stdout ?? ''}`.trim();
    if (left.length > 0) wrong.push(`${label}: stayed: ${left.join('; ')}; before the next kpctl: ${settings.join('; ')} ${said}`);
    else if (settings.length === 0) clean += 1;
    else if (/undone/.test(said)) repaired += 1;
    else wrong.push(`${label}: not within 1 s: ${settings.join('; ')}; the next kpctl said nothing of it: ${said}`);
    options.tell?.(
      wrong.at(-1)?.startsWith(`${label}:`) === true ? (wrong.at(-1) ?? '') : `${label}: ${settings.length === 0 ? 'clean' : said}`,
    );
    if (left.length > 0) {
      await laptop.down();
      for (const { pid } of laptop.processes()) kill(pid);
    }
  }
  return { rounds: options.rounds, clean, repaired, wrong, longest: Math.round(longest) };
}

async function timeToReady(laptop: Laptop): Promise<number> {
  const started = performance.now();
  const { code, stderr } = await laptop.up();
  if (code !== 0) throw new Error(`kpctl up does not start: ${stderr}`);
  const milliseconds = performance.now() - started;
  await laptop.down();
  return milliseconds;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

if (import.meta.main) {
  const [rounds = '200', seed = String(Date.now() % 100_000)] = process.argv.slice(2);
  const tell = (line: string): void => void process.stdout.write(`${line}\n`);
  await using stage = await openClusterStage('crashes', ['test/e2e/up.yaml', 'deploy/gateway.yaml'], tell);
  await using laptop = await openLaptop(stage);
  const before = await laptop.state();
  tell(`seed ${seed}`);
  const result = await killAtRandom(laptop, before, { rounds: Number(rounds), seed: Number(seed), tell });
  tell(JSON.stringify(result));
  process.exitCode = result.wrong.length === 0 ? 0 : 1;
}
