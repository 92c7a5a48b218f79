import { userInfo } from 'node:os';
import { Failure, messageOf } from '../../../platform/errors.ts';
import { createLogger } from '../../../platform/log.ts';
import { HeldJournal, journalPath } from '../journal.ts';
import { fromFrontSchema, sendableFailure, type FromFront, type ToFront } from '../messages.ts';
import { startOf, thisBoot, thisNetwork } from '../owner.ts';
import { upRunning } from '../running.ts';
import type { HelperEnd } from '../types.ts';
import { AgentProcess } from './agent-process.ts';
import type { Machine, MachineRequest } from './machine.ts';

/**
 * The helper of `kpctl up`: the one process that keeps root. It is started by the front, and starts the agent; what it changes on this machine it
 * writes down first, and undoes when the agent is gone, or the front before it has let go, or when it is told to. Whatever kills it, its
 * rules and its device are gone with it, and the agent sees its channel close; the rest is in the journal.
 */
const log = createLogger('kpctl-helper');

/** How long the undoing may take, which takes some hundred milliseconds. */
const UNDO_MILLISECONDS = 10_000;

let journal: HeldJournal | undefined;
let agent: AgentProcess | undefined;
let machine: Machine | undefined;
/** What the agent asked for before there was a machine. */
const early: MachineRequest[] = [];
let detached = false;
let ending: Promise<void> | undefined;

async function tell(message: ToFront): Promise<void> {
  if (process.connected) await new Promise<void>((resolve) => process.send?.(message, undefined, {}, () => resolve()));
}

async function start({ caller, agent: command }: Extract<FromFront, { type: 'start' }>): Promise<void> {
  try {
    const taken = HeldJournal.take(journalPath(thisNetwork()));
    if (taken === undefined) throw upRunning();
    journal = taken;
    const repaired = taken.found.entries.size === 0 ? [] : await (await import('../repair.ts')).undoFound(taken, log);
    const owner = {
      boot: thisBoot(),
      network: thisNetwork(),
      pid: process.pid,
      started: startOf(process.pid) ?? '',
      uid: caller.uid,
      name: caller.name,
      since: Date.now(),
    };
    taken.own(owner);
    if (ending !== undefined) return;
    const started = new AgentProcess(caller, command, {
      onMessage: (message) => {
        if (message.type === 'report') void tell({ type: 'report', message: message.message });
        else if (message.type === 'close') end('agent-ended', '');
        else if (machine === undefined) early.push(message);
        else machine.handle(message);
      },
      onEnd: (why) => end('agent-ended', why),
    });
    agent = started;
    if (started.pid !== undefined) taken.own({ ...owner, agentPid: started.pid });
    await tell({ type: 'started', repaired });
    // Loaded while the agent starts.
    const { Machine: MachineOfAgent } = await import('./machine.ts');
    if (ending === undefined) machine = new MachineOfAgent({ journal: taken, agent: started, onLost: (why) => end('failed', why), log });
    for (const request of early.splice(0)) machine?.handle(request);
  } catch (error) {
    await tell({ type: 'not-started', failure: sendableFailure(startFailure(error)) });
    end('failed', messageOf(error));
  }
}

function startFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure('MACHINE_SETUP_FAILED', `the helper could not be started: ${messageOf(error)}`, {
    likely: userInfo().uid === 0 ? '/var/lib cannot be written' : 'it does not run as root',
    cause: error,
  });
}

/** Once; what is said is what came first. */
function end(reason: HelperEnd['reason'], message: string): void {
  ending ??= (async () => {
    let said = message;
    void agent?.send({ type: 'ending', message });
    try {
      await inTime(machine?.close());
    } catch (error) {
      log.error({ err: error }, 'a change could not be undone');
      said = [said, `not everything could be undone: ${messageOf(error)}`].filter((text) => text !== '').join('; ');
    }
    await agent?.end();
    // Now another one may begin.
    journal?.end();
    await tell({ type: 'ended', reason, message: said });
    process.exit(0);
  })();
  // Nothing in it throws; a rejection would be a bug, and ends the process as such.
  void ending;
}

/** With this process its rules and its device end in any case; the rest is in the journal. */
async function inTime(undone: Promise<void> | undefined): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error('a program of the system does not answer')), UNDO_MILLISECONDS);
  try {
    await Promise.race([undone, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function frontGone(): void {
  if (!detached) end('asked', 'kpctl up was ended before it was ready');
}

function receive(value: unknown): void {
  const message = fromFrontSchema.parse(value);
  switch (message.type) {
    case 'start':
      void start(message);
      break;
    case 'detach':
      detached = true;
      void tell({ type: 'detached' });
      break;
    case 'close':
      end('asked', '');
      break;
  }
}

for (const name of ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const) process.on(name, () => end('asked', `${name} was sent to the helper`));
// A handler, so that they do not end it (SIGUSR1 would start Node's debugger).
for (const name of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.on(name, () => undefined);
process.on('uncaughtException', (error) => {
  log.fatal({ err: error }, 'a bug in the helper');
  end('failed', `a bug in the helper: ${error.message}`);
});
process.on('message', receive);
process.on('disconnect', frontGone);
if (!process.connected) frontGone();
