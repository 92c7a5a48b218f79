import { closeSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { connectCluster } from '../../cluster/connect.ts';
import { ExitCode, Failure, messageOf } from '../../platform/errors.ts';
import { createLogger, type Logger } from '../../platform/log.ts';
import { joinMachine, report as reportToFront } from '../../simulator/machine/index.ts';
import { joinCluster } from './join-cluster.ts';
import { failureReport, type AgentReport } from './reports.ts';
import { decodeUpRequest } from './request.ts';

/**
 * The agent of `kpctl up`: a process with the caller's rights, which holds the tunnel, the resolver and the flows. Its parent, the helper, has the rights to
 * change the machine, and undoes everything when this process ends in whichever way. Answers the exit code.
 */
export async function runAgent(argument: string): Promise<number> {
  const logFile = join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'kpctl', 'up.log');
  const log = openLog(logFile);
  const report = (message: AgentReport): void => reportToFront(message);
  const leave = new AbortController();
  // The helper asks with these; Ctrl-C at a terminal is the front's.
  process.on('SIGTERM', () => leave.abort(new Error('asked to leave')));
  process.on('SIGINT', () => undefined);
  process.on('SIGHUP', () => undefined);
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'a bug in kpctl up: please report it');
    report(failureReport(bug(error, logFile)));
    // Its parent undoes everything.
    process.exit(ExitCode.failed);
  });
  try {
    const request = decodeUpRequest(argument);
    const { asGroup: asGroups, ...context } = request.cluster;
    await using cluster = await connectCluster({ ...context, ...(asGroups !== undefined && { asGroups }), logger: log });
    const tell = {
      progress: (text: string): void => {
        log.info(text);
        report({ type: 'progress', text });
      },
      warn: (text: string): void => {
        log.warn(text);
        report({ type: 'warning', text });
      },
    };
    tell.progress(`reaching ${cluster.context} (${cluster.server})`);
    const onLeave = (): void => leave.abort(new Error('asked to leave'));
    await using join = await joinCluster({ cluster, request, joinMachine, tell, onLeave, log, logFile }, { signal: leave.signal });
    log.info({ joined: join.joined }, 'joined');
    report({ type: 'ready', joined: join.joined });
    const end = await Promise.race([join.lost, aborted(leave.signal)]);
    if (end instanceof Failure) throw end;
    log.info('leaving');
    return ExitCode.done;
  } catch (error) {
    if (leave.signal.aborted) return ExitCode.done;
    const failure = error instanceof Failure ? error : bug(error, logFile);
    log.error({ err: error }, failure.format());
    report(failureReport(failure));
    return failure.exitCode;
  }
}

function bug(error: unknown, logFile: string): Failure {
  return new Failure('UP_BUG', `kpctl up has ended because of a bug: ${messageOf(error)}`, {
    remedy: `please report it, with the end of ${logFile}`,
    cause: error,
  });
}

/** A fresh log; the one before is kept beside it. Without a place for it nothing is logged. */
function openLog(path: string): Logger {
  const level = process.env['KPEERING_LOG'] ?? 'info';
  let descriptor: number;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    keepOld(path);
    descriptor = openSync(path, 'a', 0o600);
  } catch {
    return createLogger('kpctl up', level, () => undefined);
  }
  process.once('exit', () => closeSync(descriptor));
  return createLogger('kpctl up', level, (line) => {
    try {
      writeSync(descriptor, line);
    } catch {
      // The disk is full: nothing may fail for want of a log.
    }
  });
}

function keepOld(path: string): void {
  try {
    renameSync(path, `${path}.1`);
  } catch {
    // There is none.
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
