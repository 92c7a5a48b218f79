import { fileURLToPath } from 'node:url';
import { ExitCode, Failure } from '../../platform/errors.ts';
import { startHelper } from '../../simulator/machine/start-helper.ts';
import type { HelperEnd, HelperProcess } from '../../simulator/machine/types.ts';
import type { Interruption } from '../interruption.ts';
import { Progress } from '../terminal-progress.ts';
import { printResult, type OutputFormat, type Terminal } from '../terminal.ts';
import { findCaller, type CallerSources } from './caller.ts';
import { describeJoined, type Joined } from './joined.ts';
import { parseAgentReport, reportedFailure, type AgentReport } from './reports.ts';
import { encodeUpRequest, type UpRequest } from './request.ts';

/** What the front uses of the machine; tests give their own. */
export interface FrontParts {
  readonly startHelper: typeof startHelper;
  readonly callerSources?: CallerSources;
}

/**
 * `sudo kpctl up`, as the user sees it: starts the helper, which starts the agent, shows what they say, and ends when names and capture work, or stays with
 * `foreground`. Answers the exit code. Failures: ROOT_REQUIRED, UP_RUNNING, UP_FAILED, and those of the agent.
 */
export async function bringUp(
  request: UpRequest,
  options: { readonly foreground: boolean; readonly format: OutputFormat },
  terminal: Terminal,
  interruption: Interruption,
  parts: FrontParts = { startHelper },
): Promise<number> {
  const caller = findCaller(parts.callerSources);
  const interrupted = interruption.listen();
  const reports = new Reports(terminal);
  const helper = await parts.startHelper(
    { caller, agent: agentCommand(request), onReport: (message) => reports.take(message) },
    { signal: interrupted },
  );
  for (const sentence of helper.repaired) terminal.warn(sentence);
  try {
    const joined = await untilReady(helper, reports, interrupted);
    printResult(terminal, options.format, joined, () => [
      ...describeJoined(joined),
      options.foreground ? 'to undo: Ctrl-C' : 'to undo: kpctl down',
    ]);
    if (!options.foreground) {
      await helper.detach();
      return ExitCode.done;
    }
    const end = await Promise.race([helper.exited, aborted(interrupted)]);
    if (end === undefined) {
      await helper.close();
      return ExitCode.interrupted;
    }
    if (end.reason !== 'asked') throw reports.failure ?? ended(end);
    terminal.progress('down: names and network are as before');
    return ExitCode.done;
  } catch (error) {
    await helper.close();
    throw error;
  } finally {
    reports.close();
  }
}

/** The agent's reports, shown as they come. */
class Reports {
  readonly #terminal: Terminal;
  readonly #ready = Promise.withResolvers<Joined>();
  #progress: Progress | undefined;
  failure: Failure | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
    this.#ready.promise.catch(() => undefined);
    this.#progress = new Progress(terminal, 'starting');
  }

  /** Resolves when names and capture work; rejects with what the agent has failed with. */
  get ready(): Promise<Joined> {
    return this.#ready.promise;
  }

  take(message: unknown): void {
    const report: AgentReport | undefined = parseAgentReport(message);
    switch (report?.type) {
      case 'progress':
        if (this.#progress === undefined) this.#terminal.progress(report.text);
        else this.#progress.update(report.text);
        break;
      case 'warning':
        this.#terminal.warn(report.text);
        break;
      case 'ready':
        this.close();
        this.#ready.resolve(report.joined);
        break;
      case 'failed':
        this.close();
        this.failure = reportedFailure(report);
        this.#ready.reject(this.failure);
        break;
      case undefined:
        break;
    }
  }

  close(): void {
    this.#progress?.done();
    this.#progress = undefined;
  }
}

async function untilReady(helper: HelperProcess, reports: Reports, interrupted: AbortSignal): Promise<Joined> {
  const outcome = await Promise.race([reports.ready, helper.exited.then((end) => ({ end })), aborted(interrupted)]);
  interrupted.throwIfAborted();
  if (outcome === undefined || 'end' in outcome) {
    // What the agent said last may be behind the news of its end.
    throw reports.failure ?? ended(outcome?.end);
  }
  return outcome;
}

function ended(end: HelperEnd | undefined): Failure {
  const said = end === undefined || end.message === '' ? 'it did not say why' : end.message;
  return new Failure('UP_FAILED', `kpctl up has ended: ${said}`, {
    likely: 'its agent was killed, or could not be started as the user who called sudo',
    remedy: 'the machine is as before: try again, with --foreground to see what it says',
  });
}

/** From source and from a package alike. */
function agentCommand(request: UpRequest): [string, ...string[]] {
  const program = fileURLToPath(new URL('../../../bin/kpctl-agent.js', import.meta.url));
  return [process.execPath, '--disable-warning=ExperimentalWarning', program, encodeUpRequest(request)];
}

async function aborted(signal: AbortSignal): Promise<undefined> {
  if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  return undefined;
}
