import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { requireLinux } from '../../platform/linux.ts';
import { runtimeDirectory } from '../../platform/runtime-directory.ts';
import { controlAnswers, leaveNamed } from '../control/client.ts';
import { serveControl } from '../control/server.ts';
import { insideMessageSchema, type InsideReady, type InsideTask } from '../demo/inside-messages.ts';
import { additions, machineState, processesIn } from '../demo/leftovers.ts';
import type { Interruption } from '../interruption.ts';
import type { Terminal } from '../terminal.ts';

/** The control socket of a demo that is kept. */
const SOCKET = 'demo.sock';
/** Folders of the runtime directory that hold a kept demo's kubeconfig. */
const FOLDER = 'demo-';

/** `kpctl demo`: the main job on a cluster in miniature on this machine. */
export function demoCommand(program: Command, terminal: Terminal, interruption: Interruption, finish: (code: number) => void): void {
  program
    .command('demo')
    .description('play the main job on a cluster in miniature on this machine, and leave nothing behind')
    .option('--keep', 'play nothing: leave the cluster running until Ctrl-C or kpctl demo --stop, to be tried from other terminals')
    .option('--stop', 'stop a cluster that --keep has left running')
    .action(async (options: { keep?: boolean; stop?: boolean }) => {
      requireLinux('kpctl demo');
      if (options.stop === true) await stop(terminal);
      else if (options.keep === true) finish(await keep(terminal, interruption));
      else finish(await play(terminal, interruption));
    });
}

async function play(terminal: Terminal, interruption: Interruption): Promise<number> {
  const interrupted = interruption.listen();
  await clearStale();
  const before = await machineState();
  const { code, pidNamespace } = await inLab({ kind: 'play' }, interrupted, () => undefined);
  if (interrupted.aborted) return ExitCode.interrupted;
  const left = [...processesIn(pidNamespace), ...additions(before, await machineState())];
  if (left.length > 0) {
    terminal.result('  WRONG  the demo has left something behind, or another program has added it meanwhile:');
    for (const line of left) terminal.result(`         ${line}`);
    return ExitCode.failed;
  }
  terminal.result('  ok  nothing is left: no process, namespace, link, rule or file');
  return code === 0 ? ExitCode.done : ExitCode.failed;
}

async function keep(terminal: Terminal, interruption: Interruption): Promise<number> {
  const interrupted = interruption.listen();
  await clearStale();
  const stopped = new AbortController();
  await using _control = await serveControl({ status: () => undefined, leave: () => stopped.abort() }, SOCKET);
  const directory = mkdtempSync(join(runtimeDirectory(), FOLDER));
  try {
    const { code } = await inLab({ kind: 'keep', directory }, AbortSignal.any([interrupted, stopped.signal]), (ready) => {
      for (const line of thingsToTry(ready)) terminal.result(line);
    });
    if (stopped.signal.aborted) return ExitCode.done;
    return interrupted.aborted ? ExitCode.interrupted : (code ?? ExitCode.failed);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function stop(terminal: Terminal): Promise<void> {
  if (!(await leaveNamed(SOCKET))) {
    throw new Failure('DEMO_NOT_RUNNING', 'no demo of this user is running', { remedy: 'start one: kpctl demo --keep' });
  }
  terminal.result('the demo stops');
}

interface InsideEnd {
  /** Null: it was killed. */
  readonly code: number | null;
  readonly pidNamespace: string;
}

/** Runs the inside program to its end, or until the signal aborts. */
async function inLab(task: InsideTask, signal: AbortSignal, onReady: (ready: InsideReady) => void): Promise<InsideEnd> {
  let pidNamespace = '';
  const inside = import.meta.url.endsWith('.ts') ? '../demo/inside.ts' : '../demo/inside.js';
  const { enterLab } = await import('../../lab/index.ts');
  await using lab = await enterLab([process.execPath, fileURLToPath(new URL(inside, import.meta.url)), JSON.stringify(task)], {
    listenOutside: task.kind === 'keep',
  });
  lab.child.on('message', (message: unknown) => {
    const { data } = insideMessageSchema.safeParse(message);
    if (data?.type === 'started') pidNamespace = data.pidNamespace;
    if (data?.type === 'ready') onReady(data);
  });
  const interrupt = (): void => void lab.close();
  signal.addEventListener('abort', interrupt, { once: true });
  if (signal.aborted) interrupt();
  const { code } = await lab.ended;
  signal.removeEventListener('abort', interrupt);
  return { code, pidNamespace };
}

/** Only one demo is kept at a time; folders of one that was killed are removed. */
async function clearStale(): Promise<void> {
  const runtime = runtimeDirectory();
  const folders = readdirSync(runtime).filter((name) => name.startsWith(FOLDER) && name !== SOCKET);
  if (folders.length === 0) return;
  if (await controlAnswers(SOCKET)) {
    throw new Failure('DEMO_RUNNING', 'a demo of this user is running already', { remedy: 'stop it: kpctl demo --stop' });
  }
  for (const folder of folders) rmSync(join(runtime, folder), { recursive: true, force: true });
}

function thingsToTry({ kubeconfig, namespace }: InsideReady): string[] {
  return [
    `export KUBECONFIG=${kubeconfig}`,
    '',
    'Things to try in another terminal, with that KUBECONFIG:',
    `  kpctl list -n ${namespace}`,
    `  kpctl run -n ${namespace} -- curl -s http://server/status`,
    `  kpctl env -n ${namespace} server`,
    `  python3 -m http.server 3000 &  kpctl intercept -n ${namespace} server --port 3000:http`,
    `  kpctl run -n ${namespace} -- curl -s http://server/        # from yet another terminal: answered by python3`,
    '',
    'Ctrl-C ends it, and so does: kpctl demo --stop',
  ];
}
